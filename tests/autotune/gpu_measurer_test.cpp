// SPDX-License-Identifier: Apache-2.0
// The Measurer of devices, on emulated ones: everything but the times is as on a GPU.
#include "autotune/measure/gpu_measurer.hpp"
#include "check/emulator_controls.hpp"
#include "generator/generate.hpp"

#include <gtest/gtest.h>

namespace sale::autotune {
namespace {

constexpr int tokens = 256;

class EmulatedMeasurer : public testing::Test {
protected:
  EmulatedMeasurer() {
    options_.cuda_driver = SALE_EMULATOR_LIBRARY;
    options_.use_disk_cache = false;
    const auto driver = Driver::open(options_.cuda_driver);
    check::EmulatorControls(*driver).set_workers(1);
    settings_.flush_bytes = 4096;
    settings_.warmup_seconds = 0;
  }

  GpuMeasurer make(const std::string &arch = "sm_80") {
    const Arch parsed = parse_arch(arch);
    const int device = find_device(*Driver::open(options_.cuda_driver), parsed.major, parsed.minor);
    return GpuMeasurer(device, options_, settings_);
  }

  static Task task_of(Stage stage, bool dense = false, const std::string &arch = "sm_80") {
    Task task;
    task.problem.num_q_heads = 2;
    task.problem.num_kv_heads = 1;
    task.problem.head_dim = 64;
    task.tokens = tokens;
    for (const KernelSpec &spec : plan_kernels(task.problem, task.policy, parse_arch(arch))) {
      if (spec.stage == stage && spec.dense == dense) {
        task.kernel = spec;
      }
    }
    return task;
  }

  static Tile other_tile(const Task &task) {
    Tile tile = task.kernel.tile;
    tile.stages = tile.stages == 2 ? 3 : 2;
    return tile;
  }

  Options options_;
  MeasureSettings settings_;
};

TEST_F(EmulatedMeasurer, measures_and_checks_every_tunable_kernel) {
  GpuMeasurer measurer = make();
  EXPECT_EQ(measurer.gpu().arch, parse_arch("sm_80"));
  for (const Task &task :
       {task_of(Stage::prepare), task_of(Stage::select), task_of(Stage::attend), task_of(Stage::attend, true)}) {
    SCOPED_TRACE(task.describe());
    const Rounds rounds = measurer.measure(task, {task.kernel.tile, other_tile(task)}, 2);
    ASSERT_EQ(rounds.of.size(), 2U);
    for (const Measurement &tile : rounds.of) {
      EXPECT_EQ(tile.outcome, Outcome::good) << tile.why;
      EXPECT_GT(tile.ms.size(), 0U);
      EXPECT_EQ(tile.ms.size(), rounds.of[0].ms.size());
    }
    const Measurement checked = measurer.check(task, other_tile(task));
    EXPECT_EQ(checked.outcome, Outcome::good) << checked.why;
  }
}

TEST_F(EmulatedMeasurer, measures_warpgroups_with_masks_of_a_density) {
  GpuMeasurer measurer = make("sm_90");
  ASSERT_EQ(measurer.gpu().arch, parse_arch("sm_90a"));
  Task task = task_of(Stage::attend, false, "sm_90a");
  task.density = 0.05F;
  const Rounds rounds = measurer.measure(task, {task.kernel.tile, other_tile(task)}, 1);
  for (const Measurement &tile : rounds.of) {
    EXPECT_EQ(tile.outcome, Outcome::good) << tile.why;
    EXPECT_EQ(tile.ms.size(), 1U);
  }
}

TEST_F(EmulatedMeasurer, measures_the_second_filter_with_thresholds) {
  GpuMeasurer measurer = make("sm_90");
  Task task = task_of(Stage::attend, false, "sm_90a");
  task.policy.second_filter = true;
  task.kernel.second_filter = true;
  EXPECT_EQ(measurer.measure(task, {task.kernel.tile}, 1).of[0].outcome, Outcome::good);
}

TEST_F(EmulatedMeasurer, measures_fp8) {
  GpuMeasurer measurer = make("sm_90");
  Task task = task_of(Stage::attend, false, "sm_90a");
  task.policy.estimator = Estimator::fp8;
  task.policy.fp8_attend = true;
  for (const KernelSpec &spec : plan_kernels(task.problem, task.policy, parse_arch("sm_90a"))) {
    if (is_tunable(spec.stage)) {
      task.kernel = spec;
      SCOPED_TRACE(task.describe());
      const Rounds rounds = measurer.measure(task, {spec.tile, other_tile(task)}, 1);
      for (const Measurement &tile : rounds.of) {
        EXPECT_EQ(tile.outcome, Outcome::good) << tile.why;
      }
    }
  }
}

TEST_F(EmulatedMeasurer, times_whole_calls_of_policies) {
  GpuMeasurer measurer = make();
  PolicyCalls calls{task_of(Stage::attend).problem, {}, tokens};
  calls.policies.resize(4);
  calls.policies[1].tau = 1000; // nothing but the reference region
  calls.policies[1].window = calls.policies[1].block_k;
  calls.policies[2].estimator = Estimator::fp8; // not of this architecture
  calls.policies[3].dense_below = tokens + 1;
  const PolicyRounds measured = measurer.time_policies(calls, 2);
  ASSERT_EQ(measured.rounds.of.size(), 4U);
  for (const std::size_t good : {0U, 1U, 3U}) {
    EXPECT_EQ(measured.rounds.of[good].outcome, Outcome::good) << measured.rounds.of[good].why;
    EXPECT_GT(measured.rounds.of[good].ms.size(), 0U);
  }
  EXPECT_EQ(measured.rounds.of[2].outcome, Outcome::failed);
  EXPECT_NE(measured.rounds.of[2].why, "");
  EXPECT_LT(measured.density[1], measured.density[0]);
  EXPECT_EQ(measured.density[2], 0);
  EXPECT_EQ(measured.density[3], 1);
}

} // namespace
} // namespace sale::autotune
