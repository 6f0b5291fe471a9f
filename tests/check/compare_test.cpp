// SPDX-License-Identifier: Apache-2.0
// The judge itself: the oracle's own result passes, and nothing that is wrong in one place does.
#include "check/compare.hpp"

#include "check/run_case.hpp"
#include "reference/means.hpp"
#include "reference/region.hpp"
#include "reference/select.hpp"
#include "reference/thresholds.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace sale::check {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

class Compared : public testing::TestWithParam<Estimator> {
protected:
  Compared() {
    check_case_.problem.head_dim = 64;
    check_case_.problem.num_q_heads = 2;
    check_case_.problem.num_kv_heads = 1;
    check_case_.policy.estimator = GetParam();
    check_case_.policy.sink = 1;
    check_case_.policy.window = 0;
    check_case_.policy.tau = 0.01F;
    check_case_.shape = {1, 70, 300};
    run_.problem = check_case_.problem;
    run_.policy = check_case_.policy;
    tensors_ = make_data(check_case_);
    compute();
  }

  // What a device with the oracle's arithmetic brings back.
  void compute() {
    const Policy &policy = run_.policy;
    const float scale = effective_softmax_scale(run_.problem);
    const bool exact = policy.estimator == Estimator::exact;
    good_.threshold = reference::thresholds(tensors_, policy, scale).value;
    good_.kbar = exact ? std::vector<float>() : reference::mean_keys(tensors_);
    good_.qbar = policy.estimator == Estimator::int4 ? reference::mean_queries(tensors_) : std::vector<float>();
    const auto estimates =
        reference::prepare_estimates(tensors_, policy, scale, good_.kbar, good_.qbar, good_.threshold);
    good_.keys = {estimates.keys.codes, estimates.keys.scales};
    good_.queries = {estimates.queries.codes, estimates.queries.scales};
    good_.mask = reference::select(tensors_, policy, estimates);
    attend(good_);
  }
  void attend(DeviceResult &result) const {
    reference::Attention attention = reference::attend(tensors_, effective_softmax_scale(run_.problem), &result.mask,
                                                       run_.policy.block_q, run_.policy.block_k);
    result.out = std::move(attention.out);
    result.lse = std::move(attention.lse);
  }

  bool passes(const std::function<void(DeviceResult &)> &change) const {
    DeviceResult result = good_;
    change(result);
    return compare_method(run_, tensors_, result).empty();
  }

  CheckCase check_case_;
  DeviceRun run_;
  reference::Tensors tensors_;
  DeviceResult good_;
};

TEST_P(Compared, TheOraclesOwnResultPasses) { EXPECT_EQ(compare_method(run_, tensors_, good_), Problems()); }

TEST_P(Compared, AWrongOutputDoesNot) {
  for (const std::size_t i : {std::size_t{0}, good_.out.size() - 1}) {
    EXPECT_FALSE(passes([&](DeviceResult &r) { r.out[i] += 0.1F; }));
    EXPECT_FALSE(passes([&](DeviceResult &r) { r.out[i] = nan; }));
  }
  EXPECT_FALSE(passes([](DeviceResult &r) { r.out.pop_back(); }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.lse.back() += 0.003F; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.lse.front() = nan; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.guards_intact = false; }));
}

TEST_P(Compared, AWrongThresholdDoesNot) {
  EXPECT_FALSE(passes([](DeviceResult &r) { r.threshold.back() += 0.01F; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.threshold.front() = nan; }));
}

TEST_P(Compared, WrongMeansCodesAndScalesDoNot) {
  if (GetParam() == Estimator::exact) {
    EXPECT_FALSE(passes([](DeviceResult &r) { r.keys.codes.push_back(1); })) << "it has none";
    return;
  }
  EXPECT_FALSE(passes([](DeviceResult &r) { r.kbar.back() += 1e-3F; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.keys.codes.back() ^= 1; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.queries.codes.back() ^= 1; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.keys.scales.back() *= 1.0000002F; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.queries.scales.back() *= 1.0000002F; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.keys.codes.clear(); }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.keys.scales.clear(); }));
  if (GetParam() == Estimator::int4) {
    EXPECT_FALSE(passes([](DeviceResult &r) { r.qbar.back() += 1e-3F; }));
  }
}

// Even when the output is right for it.
TEST_P(Compared, AMaskThatDiffersInAnyBlockDoesNot) {
  const reference::Mask &mask = good_.mask;
  int estimated[2] = {0, 0};
  for (int h = 0; h < mask.num_q_heads(); ++h) {
    for (int m = 0; m < mask.q_blocks(); ++m) {
      const reference::Region region = reference::region_of(run_.policy, tensors_.shape, m);
      for (int j = 0; j < mask.k_blocks(); ++j) {
        const bool kept = mask.test(0, h, m, j);
        estimated[kept ? 1 : 0] += region.estimated(j) ? 1 : 0;
        EXPECT_FALSE(passes([&](DeviceResult &r) {
          r.mask.set(0, h, m, j, !kept);
          attend(r);
        })) << "head "
            << h << ", blocks " << m << " and " << j;
      }
    }
  }
  EXPECT_GT(estimated[0], 0);
  EXPECT_GT(estimated[1], 0);
}

INSTANTIATE_TEST_SUITE_P(Estimators, Compared, testing::Values(Estimator::exact, Estimator::int8, Estimator::int4),
                         [](const auto &test) { return std::string(to_string(test.param)); });

} // namespace
} // namespace sale::check
