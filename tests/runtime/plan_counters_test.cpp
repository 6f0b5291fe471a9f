// SPDX-License-Identifier: Apache-2.0
// What Plans count of their calls, and what counting on the device enqueues.
#include "args/count_args.cuh"
#include "runtime/workspace.hpp"
#include "tests/runtime/count_allocations.hpp"
#include "tests/runtime/plan_fixture.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace sale {
namespace {

class PlanCountersTest : public PlanTest {
protected:
  Plan prepare_counted(const Policy &policy = {}, const Problem &problem = {}) {
    Serving serving;
    serving.counted = true;
    return prepare(policy, problem, serving);
  }

  /// The arguments of the last count that was launched.
  CountArgs last_count() {
    for (auto call = fake_cuda().calls.rbegin(); call != fake_cuda().calls.rend(); ++call) {
      if (call->kernel == "sale_count") {
        return arguments_of<CountArgs>(*call);
      }
    }
    ADD_FAILURE() << "no launch of sale_count";
    return {};
  }
};

TEST_F(PlanCountersTest, CountsWhatIsEnqueued) {
  Policy policy;
  policy.dense_below = 500;
  const Plan plan = prepare(policy);
  RunArgs args = args_for(plan, {1, 1000, 1000});
  plan.run(args, stream_);
  plan.run(args, stream_);
  plan.run_dense(args, stream_);
  args.mask_in = reinterpret_cast<const std::uint32_t *>(0x9000);
  plan.run(args, stream_);
  const RunArgs few = args_for(plan, {1, 100, 499});
  plan.run(few, stream_);
  RunArgs selects = args_for(plan, {1, 1000, 1000});
  selects.mask_out = reinterpret_cast<std::uint32_t *>(0x9000);
  plan.select(selects, stream_);
  const PlanCounters counters = Plan(plan).counters(); // copies share them
  EXPECT_EQ(counters.runs, 4U);
  EXPECT_EQ(counters.given_masks, 1U);
  EXPECT_EQ(counters.fallbacks, 1U);
  EXPECT_EQ(counters.dense_runs, 1U);
  EXPECT_EQ(counters.selects, 1U);
  EXPECT_EQ(counters.merges, 0U);
  EXPECT_EQ(counters.finished, 0U) << "nothing is counted on the device";
  EXPECT_EQ(prepare(policy).counters().runs, 0U) << "of another Plan";
}

TEST_F(PlanCountersTest, DoesNotCountWhatHasNoWorkOrIsRefused) {
  const Plan plan = prepare({});
  RunArgs args = args_for(plan, {1, 100, 100});
  args.shape.q_len = 0;
  plan.run(args, stream_);
  args = args_for(plan, {1, 100, 100});
  args.workspace_bytes -= 1;
  EXPECT_THROW(plan.run(args, stream_), Error);
  fake_cuda().fail_call = "cuLaunchKernel";
  fake_cuda().fail_result = 2;
  EXPECT_THROW(plan.run(args_for(plan, {1, 100, 100}), stream_), Error);
  EXPECT_EQ(plan.counters().runs, 0U);
}

TEST_F(PlanCountersTest, CountsAcrossThreads) {
  const Plan plan = prepare({});
  const RunArgs args = args_for(plan, {1, 100, 100});
  fake_cuda().recording = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 500; ++call) {
        plan.run(args, stream_);
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  EXPECT_EQ(plan.counters().runs, 2000U);
}

TEST_F(PlanCountersTest, CountsOnTheDeviceAroundTheOtherKernels) {
  const Plan plan = prepare_counted();
  const RunArgs args = args_for(plan, {2, 130, 1001});
  EXPECT_EQ(enqueued(plan, args), (Names{"sale_count", memset_call, "sale_mean", "sale_quantize", "sale_prepare",
                                         "sale_select", "sale_attend", "sale_count"}));
  const auto begin = arguments_of<CountArgs>(launch("sale_count"));
  EXPECT_EQ(begin.begins, 1);
  EXPECT_EQ(grid("sale_count"), (std::vector<unsigned>{1, 1, 1}));
  const auto end = last_count();
  EXPECT_EQ(end.begins, 0);
  EXPECT_EQ(end.started, begin.started);
  EXPECT_EQ(end.batch, 2);
  EXPECT_EQ(end.num_q_heads, 32);
  const auto *workspace = static_cast<const char *>(args.workspace);
  const auto *mask = reinterpret_cast<const char *>(end.mask);
  EXPECT_TRUE(mask > workspace && mask < workspace + args.workspace_bytes);

  // Where kernels would add, a host reads.
  end.totals->calls = 3;
  end.totals->kept_blocks = 10;
  end.totals->visible_blocks = 40;
  end.totals->nanoseconds = 2'500'000;
  const PlanCounters counters = plan.counters();
  EXPECT_EQ(counters.finished, 3U);
  EXPECT_EQ(counters.kept_blocks, 10U);
  EXPECT_EQ(counters.visible_blocks, 40U);
  EXPECT_DOUBLE_EQ(counters.milliseconds, 2.5);
}

TEST_F(PlanCountersTest, CountsAllOfADenseCallAndNothingOfSelect) {
  const Plan plan = prepare_counted();
  RunArgs args = args_for(plan, {1, 1000, 1000});
  fake_cuda().calls.clear();
  plan.run_dense(args, stream_);
  EXPECT_EQ(enqueued(), (Names{"sale_count", "sale_attend", "sale_count"}));
  EXPECT_EQ(last_count().mask, nullptr);
  args.mask_in = reinterpret_cast<const std::uint32_t *>(0x9000);
  enqueued(plan, args);
  EXPECT_EQ(last_count().mask, args.mask_in);
  args.mask_in = nullptr;
  args.mask_out = reinterpret_cast<std::uint32_t *>(0xa000);
  fake_cuda().calls.clear();
  plan.select(args, stream_);
  EXPECT_EQ(launch("sale_select").kernel, "sale_select");
  for (const std::string &name : enqueued()) {
    EXPECT_NE(name, "sale_count");
  }
}

TEST_F(PlanCountersTest, NeedsAWorkspaceWhereItCountsOnTheDevice) {
  const Plan plan = prepare_counted();
  RunArgs args = args_for(plan, {1, 100, 100});
  args.workspace = nullptr;
  EXPECT_NE(std::string(error_of([&] { plan.run_dense(args, stream_); }).what()).find("workspace is null"),
            std::string::npos);
}

TEST_F(PlanCountersTest, ReadingAsksNothingOfTheDriver) {
  const Plan plan = prepare_counted();
  plan.run(args_for(plan, {1, 100, 100}), stream_);
  fake_cuda().calls.clear();
  const long before = allocations();
  plan.counters();
  EXPECT_EQ(allocations() - before, 0);
  EXPECT_TRUE(fake_cuda().calls.empty());
}

TEST_F(PlanCountersTest, GivesItsMemoryBack) {
  const auto used = [&] {
    const Plan plan = prepare_counted();
    return fake_cuda().live_bytes;
  }();
  EXPECT_GE(used, sizeof(CountTotals));
  EXPECT_EQ(fake_cuda().live_bytes, 0U);
  fake_cuda().fail_call = "cuMemHostAlloc";
  fake_cuda().fail_result = 2;
  EXPECT_EQ(error_of([&] { prepare_counted(); }).details().where, "cuMemHostAlloc");
  EXPECT_EQ(fake_cuda().live_bytes, 0U);
}

} // namespace
} // namespace sale
