// SPDX-License-Identifier: Apache-2.0
// Tiles are measured and checked on a real device, as `sale tune` does it.
#include "autotune/measure/gpu_measurer.hpp"
#include "generator/generate.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <algorithm>

namespace sale::test {
namespace {

using namespace autotune;

class TuningTest : public GpuTest {
protected:
  static Task task_of(const Arch &arch, Stage stage, bool dense = false) {
    Task task;
    task.problem.num_q_heads = 8;
    task.problem.num_kv_heads = 2;
    task.tokens = 4096;
    for (const KernelSpec &spec : plan_kernels(task.problem, task.policy, arch)) {
      if (spec.stage == stage && spec.dense == dense) {
        task.kernel = spec;
      }
    }
    return task;
  }

  // One stage fewer, or one more where that is impossible.
  static Tile other_tile(const Task &task) {
    KernelSpec spec = task.kernel;
    try {
      --spec.tile.stages;
      validate(spec);
    } catch (const Error &) {
      spec.tile.stages = task.kernel.tile.stages + 1;
    }
    return spec.tile;
  }
};

TEST_F(TuningTest, MeasuresTwoTilesAndChecksOne) {
  GpuMeasurer measurer(-1, test_options());
  const Arch arch = measurer.gpu().arch;
  for (const Task &task : {task_of(arch, Stage::prepare), task_of(arch, Stage::select), task_of(arch, Stage::attend),
                           task_of(arch, Stage::attend, true)}) {
    SCOPED_TRACE(task.describe());
    const Tile other = other_tile(task);
    const Rounds rounds = measurer.measure(task, {task.kernel.tile, other}, 5);
    ASSERT_EQ(rounds.of.size(), 2U);
    for (const Measurement &tile : rounds.of) {
      EXPECT_EQ(tile.outcome, Outcome::good) << tile.why;
      EXPECT_GT(tile.ms.size(), 0U);
      EXPECT_TRUE(std::all_of(tile.ms.begin(), tile.ms.end(), [](double ms) { return ms > 0; }));
    }
    const Measurement checked = measurer.check(task, other);
    EXPECT_EQ(checked.outcome, Outcome::good) << checked.why;
  }
  const GpuParameters parameters = measurer.parameters();
  EXPECT_TRUE(parameters.measured) << measurer.facts()["cost_model"];
  const GpuParameters assumed = assumed_parameters(arch, parameters.multiprocessors);
  EXPECT_GT(parameters.mma_flops_per_clock, assumed.mma_flops_per_clock / 2);
  EXPECT_LT(parameters.mma_flops_per_clock, assumed.mma_flops_per_clock * 1.1);
  EXPECT_GT(parameters.l2_bytes_per_clock, 1);
  EXPECT_FALSE(measurer.poisoned());
  EXPECT_EQ(measurer.facts().count("l2_bytes"), 1U);
}

} // namespace
} // namespace sale::test
