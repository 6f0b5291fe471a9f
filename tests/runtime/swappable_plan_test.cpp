// SPDX-License-Identifier: Apache-2.0
#include "sale/swappable_plan.hpp"
#include "generator/generate.hpp"
#include "generator/tuning.hpp"
#include "tests/runtime/plan_fixture.hpp"

#include <atomic>
#include <gtest/gtest.h>
#include <thread>

namespace sale {
namespace {

class SwappablePlanTest : public PlanTest {
protected:
  Options plan_options() {
    Options with = options();
    with.arch = arch_;
    return with;
  }

  // Attend with tiles of 64 rows; the default has 128.
  std::shared_ptr<const TuningRecord> record() const {
    auto made = std::make_shared<TuningRecord>(empty_record());
    made->source = "fake.yaml";
    made->gpus.push_back({"Fake GPU", parse_arch(arch_), 132, {}, {}});
    for (const KernelSpec &spec : plan_kernels(Problem(), Policy(), parse_arch(arch_))) {
      if (spec.stage == Stage::attend && !spec.dense) {
        const Tile tile = {.rows_per_warp = 16, .warps = 4, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
        made->gpus.front().kernels.push_back({spec.class_name(), {{.tile = tile, .facts = {}}}});
      }
    }
    return made;
  }

  unsigned row_tiles(const Plan &plan) {
    enqueued(plan, args_for(plan, {1, 1024, 1024}));
    return grid("sale_attend").front();
  }
};

TEST_F(SwappablePlanTest, GivesTheNewPlanFromThenOn) {
  SwappablePlan plan(0, plan_options(), Problem(), Policy());
  const Plan before = plan.current();
  EXPECT_EQ(row_tiles(before), 8U);
  plan.use(record());
  EXPECT_EQ(row_tiles(plan.current()), 16U);
  EXPECT_EQ(row_tiles(before), 8U) << "a Plan that somebody holds stays as it is";
  plan.use(nullptr);
  EXPECT_EQ(row_tiles(plan.current()), 8U);
}

TEST_F(SwappablePlanTest, KeepsThePlanInUseWhenNoOtherCanBePrepared) {
  SwappablePlan plan(0, plan_options(), Problem(), Policy());

  TuningRecord damaged = *record();
  damaged.gpus.front().kernels.front().choices.front().tile.warps = 77;
  EXPECT_EQ(error_of([&] { plan.use(std::make_shared<TuningRecord>(damaged)); }).kind(), ErrorKind::invalid_argument);
  EXPECT_EQ(row_tiles(plan.current()), 8U);
  plan.use(record());
  EXPECT_EQ(row_tiles(plan.current()), 16U);
}

TEST_F(SwappablePlanTest, UnloadsNothingThatWasInUse) {
  {
    SwappablePlan plan(0, plan_options(), Problem(), Policy());
    fake_cuda().calls.clear();
    plan.use(record());
    plan.use(nullptr);
    for (const FakeCall &call : fake_cuda().calls) {
      EXPECT_NE(call.name, "cuModuleUnload") << "a captured graph may hold it";
    }
    fake_cuda().calls.clear();
  }
  const auto unloads = std::count_if(fake_cuda().calls.begin(), fake_cuda().calls.end(),
                                     [](const FakeCall &call) { return call.name == "cuModuleUnload"; });
  EXPECT_GT(unloads, 0);
}

TEST_F(SwappablePlanTest, IsReadByOtherThreadsWhileItIsSwapped) {
  SwappablePlan plan(0, plan_options(), Problem(), Policy());
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        reads += static_cast<int>(!plan.current().kernels().empty());
      }
    });
  }
  for (int i = 0; i < 5; ++i) {
    plan.use(i % 2 == 0 ? record() : nullptr);
  }
  stop = true;
  for (std::thread &reader : readers) {
    reader.join();
  }
  EXPECT_GT(reads, 0);
}

} // namespace
} // namespace sale
