// SPDX-License-Identifier: Apache-2.0
// Whatever a Plan enqueues, it asks the driver for nothing but that, on the caller's stream, and takes no memory of the
// host: every entry point of the driver that it calls is seen by the fake one, and every malloc is counted.
#include "core/serving_words.hpp"
#include "tests/runtime/count_allocations.hpp"
#include "tests/runtime/plan_fixture.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

namespace sale {
namespace {

// All that a stream under capture allows, and none of which waits. cuTensorMapEncodeTiled computes on the host.
const std::set<std::string> only = {"cuCtxGetCurrent", "cuCtxPushCurrent_v2",    "cuCtxPopCurrent_v2",  memset_call,
                                    "cuLaunchKernel",  "cuTensorMapEncodeTiled", "cuMemcpyDtoDAsync_v2"};

using Case = std::tuple<const char *, const char *, const char *>; ///< architecture, policy, way of serving

class EnqueueOnly : public PlanTest, public ::testing::WithParamInterface<Case> {
protected:
  static Policy policy_of(const std::string &word) {
    Policy policy;
    policy.estimator = word.starts_with("int8")   ? Estimator::int8
                       : word.starts_with("int4") ? Estimator::int4
                       : word.starts_with("fp8")  ? Estimator::fp8
                                                  : Estimator::exact;
    if (word == "fp8/64/2:4") {
      policy.estimate_dim = 64;
      policy.prune_queries = true;
    }
    policy.fp8_attend = word.find("attend") != std::string::npos;
    if (word.ends_with("kbar")) {
      policy.kbar.resize(8 * 128, 0.5F);
    }
    policy.dense_below = 100;
    return policy;
  }

  template <class T>
  static T *device_memory() {
    static std::uintptr_t next = 0x500000000;
    return reinterpret_cast<T *>(next += 0x1000000);
  }

  RunArgs args_of(const Plan &plan) {
    RunArgs args = args_for(plan, {2, 130, 1001});
    const Problem &p = plan.problem();
    const Serving &serving = plan.serving();
    args.lse = device_memory<float>();
    if (serving.is_ragged()) {
      args.q_lens = device_memory<const std::int32_t>();
      args.kv_lens = device_memory<const std::int32_t>();
    }
    if (serving.page_size != 0) {
      args.k = packed_view(args.k.data, p.num_kv_heads, serving.page_size, p.head_dim);
      args.v = packed_view(args.v.data, p.num_kv_heads, serving.page_size, p.head_dim);
      args.block_table = device_memory<const std::int32_t>();
      args.block_table_stride = 100;
      args.num_pages = 40;
    }
    if (serving.code_cache) {
      args.code_cache = device_memory<void>();
      args.kbar = device_memory<const float>();
      args.channels = plan.policy().estimate_dim != 0 ? device_memory<const std::int32_t>() : nullptr;
    }
    if (serving.parts) {
      args.key_offsets = device_memory<const std::int32_t>();
      args.threshold_out = device_memory<float>();
    }
    return args;
  }

  // Calls the action twice: what it asks of the driver, and what it takes from the host.
  template <class Action>
  void expect_enqueues_only(const char *what, const Action &action) {
    fake_cuda().calls.clear();
    action();
    bool any = false;
    for (const FakeCall &call : fake_cuda().calls) {
      EXPECT_TRUE(only.contains(call.name)) << what << " calls " << call.name;
      if (!call.name.starts_with("cuCtx") && call.name != "cuTensorMapEncodeTiled") {
        EXPECT_EQ(call.stream, stream_) << what << ": " << call.kernel;
        any = true;
      }
    }
    EXPECT_TRUE(any) << what << " enqueues nothing";
    fake_cuda().recording = false;
    const long before = allocations();
    action();
    EXPECT_EQ(allocations() - before, 0) << what;
    fake_cuda().recording = true;
  }
};

TEST_P(EnqueueOnly, EveryCall) {
  const auto &[arch, policy_word, serving] = GetParam();
  arch_ = arch;
  const Plan plan = prepare(policy_of(policy_word), {}, parse_serving(serving));
  const RunArgs args = args_of(plan);
  expect_enqueues_only("run", [&] { plan.run(args, stream_); });
  expect_enqueues_only("run_dense", [&] { plan.run_dense(args, stream_); });
  RunArgs writes = args;
  writes.mask_out = device_memory<std::uint32_t>();
  expect_enqueues_only("select", [&] { plan.select(writes, stream_); });
  RunArgs reads = args;
  reads.mask_in = writes.mask_out;
  expect_enqueues_only("run with a mask", [&] { plan.run(reads, stream_); });
  RunArgs brief = args;
  brief.shape = {2, 10, 99};
  expect_enqueues_only("run of a short call", [&] { plan.run(brief, stream_); });
  if (plan.serving().parts) {
    MergeArgs merge;
    merge.shape = args.shape;
    merge.out_a = merge.out = args.out;
    merge.out_b = args.q;
    merge.lse_a = merge.lse_b = args.lse;
    merge.lse = args.lse;
    expect_enqueues_only("merge", [&] { plan.merge(merge, stream_); });
  }
}

// As any name of a test must be.
std::string name_of(const ::testing::TestParamInfo<Case> &test) {
  const auto &[arch, policy, serving] = test.param;
  std::string name = fmt::format("{}_{}_{}", arch, policy, serving);
  for (char &letter : name) {
    letter = std::isalnum(static_cast<unsigned char>(letter)) != 0 ? letter : '_';
  }
  return name;
}

constexpr const char *servings[] = {"plain", "plain+counted", "ragged", "paged:64", "parts", "paged:64+parts"};

INSTANTIATE_TEST_SUITE_P(AnyGpu, EnqueueOnly,
                         ::testing::Combine(::testing::Values("sm_80", "sm_90"),
                                            ::testing::Values("exact", "int8", "int8+kbar", "int4"),
                                            ::testing::ValuesIn(servings)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Hopper, EnqueueOnly,
                         ::testing::Combine(::testing::Values("sm_90a"),
                                            ::testing::Values("exact", "int8", "int4", "fp8", "fp8/64/2:4",
                                                              "int8+attend", "fp8+attend", "fp8+attend+kbar"),
                                            ::testing::ValuesIn(servings)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(CodesInPages, EnqueueOnly,
                         ::testing::Values(Case{"sm_90", "int8", "coded:64"}, Case{"sm_90a", "int8", "coded:64"},
                                           Case{"sm_90a", "fp8", "coded:64+parts"},
                                           Case{"sm_90a", "fp8/64/2:4", "coded:64"}),
                         name_of);

} // namespace
} // namespace sale
