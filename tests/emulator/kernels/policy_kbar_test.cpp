// SPDX-License-Identifier: Apache-2.0
// A kbar that the policy brings gives the very bits that the same kbar gives as an argument of each call.
#include "tests/emulator/kernels/whole_call.hpp"

#include "reference/means.hpp"

namespace sale::test {
namespace {

struct Case {
  const char *name;
  const char *arch;
  Estimator estimator;
  int batch = 1;
  bool ragged = false;
  bool fp8_attend = false;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

class PolicyKbar : public WholeCallTest, public ::testing::WithParamInterface<Case> {
protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    const Case &c = GetParam();
    policy_.estimator = c.estimator;
    policy_.fp8_attend = c.fp8_attend;
    serving_.ragged = c.ragged;
    upload({c.batch, 200, 330});
  }

  struct Result {
    std::vector<std::uint16_t> out;
    std::vector<std::uint32_t> mask;
    friend bool operator==(const Result &, const Result &) = default;
  };

  Result run(const Policy &policy, const float *kbar) {
    const Device &device = Device::get();
    const Plan plan = Engine(0, engine_options(GetParam().arch)).prepare(problem_, policy, serving_);
    const auto out = out_of(shape_);
    const auto mask = device.allocate(4 * mask_words(problem_, policy, shape_));
    RunArgs args = inputs();
    args.out = packed_view(out->as<void>(), heads, shape_.q_len, head_dim);
    args.mask_out = mask->as<std::uint32_t>();
    args.kbar = kbar;
    args.workspace_bytes = plan.workspace_bytes(shape_);
    const auto workspace = device.allocate(args.workspace_bytes);
    args.workspace = workspace->as<void>();
    plan.run(args, nullptr);
    finish();
    return {out->read<std::uint16_t>(), mask->read<std::uint32_t>()};
  }
};

TEST_P(PolicyKbar, IsTheCallsKbar) {
  std::vector<float> kbar(head_dim, 0.25F);
  kbar[7] = -1.5F;
  std::vector<float> repeated;
  for (int b = 0; b < shape_.batch; ++b) {
    repeated.insert(repeated.end(), kbar.begin(), kbar.end());
  }
  const auto given = Device::get().upload(repeated);
  const Result by_call = run(policy_, given->as<const float>());
  Policy policy = policy_;
  policy.kbar = kbar;
  EXPECT_EQ(run(policy, nullptr), by_call);
  EXPECT_EQ(reference::kbar_of(tensors_, policy), repeated) << "the oracle's";
  EXPECT_EQ(reference::kbar_of(tensors_, policy_), reference::mean_keys(tensors_));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, PolicyKbar,
    ::testing::Values(
        Case{.name = "WarpProducts", .arch = "sm_80", .estimator = Estimator::int8},
        Case{.name = "Batch", .arch = "sm_90", .estimator = Estimator::int4, .batch = 5},
        Case{.name = "Ragged", .arch = "sm_90a", .estimator = Estimator::int8, .batch = 2, .ragged = true},
        Case{.name = "Fp8", .arch = "sm_90a", .estimator = Estimator::fp8, .batch = 2, .fp8_attend = true}),
    [](const auto &each) { return each.param.name; });

} // namespace
} // namespace sale::test
