// SPDX-License-Identifier: Apache-2.0
// The judge itself: the oracle's own result passes, and nothing that is wrong in one place does.
#include "check/compare.hpp"

#include "check/run_case.hpp"
#include "reference/channels.hpp"
#include "reference/means.hpp"
#include "reference/region.hpp"
#include "reference/run.hpp"
#include "reference/select.hpp"
#include "reference/thresholds.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <ostream>

namespace sale::check {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

struct Estimate {
  const char *name;
  Estimator estimator;
  int estimate_dim = 0;
  bool prune_queries = false;
  bool second_filter = false;
  bool fp8_attend = false;
};

std::ostream &operator<<(std::ostream &stream, const Estimate &estimate) { return stream << estimate.name; }

class Compared : public testing::TestWithParam<Estimate> {
protected:
  Compared() {
    check_case_.problem.head_dim = 64;
    check_case_.problem.num_q_heads = 2;
    check_case_.problem.num_kv_heads = 1;
    check_case_.policy.estimator = GetParam().estimator;
    check_case_.policy.estimate_dim = GetParam().estimate_dim;
    check_case_.policy.prune_queries = GetParam().prune_queries;
    check_case_.policy.second_filter = GetParam().second_filter;
    check_case_.policy.fp8_attend = GetParam().fp8_attend;
    check_case_.policy.block_k = GetParam().second_filter ? 64 : 32; // above 32, the filter finds something
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
    good_.channels = estimates.channels;
    good_.keys = {estimates.keys.codes, estimates.keys.scales};
    good_.queries = {estimates.queries.codes, estimates.queries.scales};
    good_.mask = reference::select(tensors_, policy, estimates);
    attend(good_);
  }
  void attend(DeviceResult &result) const { attend(result, run_.policy); }
  void attend(DeviceResult &result, const Policy &policy) const {
    reference::Attention attention =
        reference::attend_as_policy_says(tensors_, policy, effective_softmax_scale(run_.problem),
                                         reference::mean_keys(tensors_), result.mask, result.threshold);
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
  const float error = GetParam().fp8_attend ? 1.0F : 0.1F;
  for (const std::size_t i : {std::size_t{0}, good_.out.size() - 1}) {
    EXPECT_FALSE(passes([&](DeviceResult &r) { r.out[i] += error; }));
    EXPECT_FALSE(passes([&](DeviceResult &r) { r.out[i] = nan; }));
  }
  EXPECT_FALSE(passes([](DeviceResult &r) { r.out.pop_back(); }));
  const float lse_error = GetParam().fp8_attend ? 0.25F : 0.003F;
  EXPECT_FALSE(passes([&](DeviceResult &r) { r.lse.back() += lse_error; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.lse.front() = nan; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.guards_intact = false; }));
}

TEST_P(Compared, AnOutputOfAnotherPolicyDoesNot) {
  Policy other = run_.policy;
  other.fp8_attend = !other.fp8_attend;
  EXPECT_FALSE(passes([&](DeviceResult &r) { attend(r, other); }));
  if (GetParam().second_filter && !GetParam().fp8_attend) {
    other = run_.policy;
    other.second_filter = false;
    EXPECT_FALSE(passes([&](DeviceResult &r) { attend(r, other); }));
  }
}

TEST_P(Compared, ACallBelowDenseBelowIsDense) {
  run_.policy.dense_below = 301;
  EXPECT_FALSE(passes([](DeviceResult &) {})) << "its mask is not dense";
  good_.mask = reference::every_visible_block(run_.policy, tensors_);
  good_.threshold.clear();
  if (!GetParam().fp8_attend) { // whose bounds are wider than what this mask leaves out
    EXPECT_FALSE(passes([](DeviceResult &) {})) << "its output is not dense";
  }
  attend(good_);
  EXPECT_TRUE(passes([](DeviceResult &) {}));
}

TEST_P(Compared, AWrongThresholdDoesNot) {
  EXPECT_FALSE(passes([](DeviceResult &r) { r.threshold.back() += 0.01F; }));
  EXPECT_FALSE(passes([](DeviceResult &r) { r.threshold.front() = nan; }));
}

TEST_P(Compared, WrongMeansCodesAndScalesDoNot) {
  if (GetParam().estimator == Estimator::exact) {
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
  if (GetParam().estimator == Estimator::int4) {
    EXPECT_FALSE(passes([](DeviceResult &r) { r.qbar.back() += 1e-3F; }));
  }
}

TEST_P(Compared, WrongChannelsAndWeightsDoNot) {
  if (!good_.channels.index.empty()) {
    EXPECT_FALSE(passes([](DeviceResult &r) { r.channels.index.pop_back(); }));
    EXPECT_FALSE(passes([](DeviceResult &r) { r.channels.index.back() = 64; }));
    EXPECT_FALSE(passes([](DeviceResult &r) { std::swap(r.channels.index[0], r.channels.index[1]); }));
  }
  if (GetParam().estimate_dim != 0) {
    std::vector<int> others; // ascending, so that only their energy is wrong
    for (int d = 0; d < 64; ++d) {
      if (!std::binary_search(good_.channels.index.begin(), good_.channels.index.end(), d)) {
        others.push_back(d);
      }
    }
    ASSERT_EQ(others.size(), good_.channels.index.size());
    EXPECT_FALSE(passes([&](DeviceResult &r) { r.channels.index = others; }));
  }
  if (GetParam().prune_queries) {
    EXPECT_FALSE(passes([](DeviceResult &r) { r.channels.weights.back() *= 1.001F; }));
    EXPECT_FALSE(passes([](DeviceResult &r) { r.channels.weights.clear(); }));
  }
}

// Even when the output is right for it. Only fp8's f16 sums may decide differently, near the threshold.
TEST_P(Compared, AMaskThatDiffersInAnyBlockDoesNot) {
  const reference::Mask &mask = good_.mask;
  const Policy &policy = run_.policy;
  const bool fp8 = policy.estimator == Estimator::fp8;
  const auto estimates =
      reference::prepare_estimates(tensors_, policy, effective_softmax_scale(run_.problem), good_.kbar, good_.qbar,
                                   good_.threshold, fp8 ? &good_.channels : nullptr);
  const auto margins = fp8 ? reference::fp8_sum_margins(tensors_, policy, estimates)
                           : reference::estimate_margins(tensors_, policy, estimates);
  const double may_differ = fp8 ? reference::fp8_sum_bound(reference::estimate_dim(policy, 64)) : -1;
  int differ = 0;
  int estimated[2] = {0, 0};
  for (int h = 0; h < mask.num_q_heads(); ++h) {
    for (int m = 0; m < mask.q_blocks(); ++m) {
      const reference::Region region = reference::region_of(run_.policy, tensors_.shape, m);
      for (int j = 0; j < mask.k_blocks(); ++j) {
        const bool kept = mask.test(0, h, m, j);
        estimated[kept ? 1 : 0] += region.estimated(j) ? 1 : 0;
        const bool near = std::abs(margins.at(0, h, m, j)) <= may_differ;
        differ += near ? 0 : 1;
        EXPECT_EQ(passes([&](DeviceResult &r) {
                    r.mask.set(0, h, m, j, !kept);
                    attend(r);
                  }),
                  near)
            << "head " << h << ", blocks " << m << " and " << j;
      }
    }
  }
  EXPECT_GT(estimated[0], 0);
  EXPECT_GT(estimated[1], 0);
  EXPECT_GT(differ, mask.num_q_heads() * mask.q_blocks() * mask.k_blocks() * 3 / 4);
}

INSTANTIATE_TEST_SUITE_P(Estimators, Compared,
                         testing::Values(Estimate{"exact", Estimator::exact}, Estimate{"int8", Estimator::int8},
                                         Estimate{"int4", Estimator::int4}, Estimate{"fp8", Estimator::fp8},
                                         Estimate{"fp8_of_32_channels", Estimator::fp8, 32},
                                         Estimate{"fp8_pruned", Estimator::fp8, 0, true},
                                         Estimate{"second_filter", Estimator::int8, 0, false, true},
                                         Estimate{"fp8_attend", Estimator::exact, 0, false, false, true},
                                         Estimate{"fp8_attend_second_filter", Estimator::fp8, 0, false, true, true}),
                         [](const auto &test) { return std::string(test.param.name); });

} // namespace
} // namespace sale::check
