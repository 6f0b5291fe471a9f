// SPDX-License-Identifier: Apache-2.0
#include "autotune/model/cost_model.hpp"
#include "autotune/search/buckets.hpp"
#include "check/covering_set.hpp"
#include "generator/generate.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <set>

namespace sale::autotune {
namespace {

Task task_of(Stage stage, bool dense, int tokens, Estimator estimator = Estimator::int8) {
  Need need;
  need.policy.estimator = estimator;
  for (const TuneBucket &bucket : tune_buckets({need}, {tokens}, {{1, 0}}, parse_arch("sm_90a"))) {
    if (bucket.task.kernel.stage == stage && bucket.task.kernel.dense == dense) {
      return bucket.task;
    }
  }
  return {};
}

double ms(const Task &task, const Tile &tile) {
  ResourceUse use;
  use.ctas_per_sm = 1;
  return model_ms(task, tile, use, assumed_parameters(task.kernel.arch));
}

TEST(CostModel, SaysATimeForEveryKernelThatThereIs) {
  std::set<std::string> seen;
  for (const check::CheckCase &of : check::covering_set()) {
    if (of.serving().is_ragged()) {
      continue;
    }
    for (const KernelSpec &kernel : plan_kernels(of.problem, of.policy, parse_arch(of.arch))) {
      if (!is_tunable(kernel.stage) || !seen.insert(kernel.class_name()).second) {
        continue;
      }
      for (const int tokens : {128, 8192, 1 << 20}) {
        const Task task{of.problem, of.policy, kernel, tokens, 0};
        const double found = ms(task, kernel.tile);
        ASSERT_TRUE(std::isfinite(found) && found > 0) << task.describe();
        Task longer = task;
        longer.tokens *= 2;
        EXPECT_GT(ms(longer, kernel.tile), found) << task.describe();
        GpuParameters better = assumed_parameters(kernel.arch);
        better.l2_bytes_per_clock *= 2;
        better.mma_flops_per_clock *= 2;
        EXPECT_LE(model_ms(task, kernel.tile, {}, better), found * (1 + 1e-9)) << task.describe();
      }
    }
  }
  EXPECT_GT(seen.size(), 50U);
}

// Measured on an H100 (docs/bench.md and docs/tuning.md): the model is a guide, so within a fifth.
TEST(CostModel, IsNearWhatAnH100Measured) {
  const Task dense = task_of(Stage::attend, true, 65536);
  EXPECT_NEAR(ms(dense, dense.kernel.tile) / 53.4, 1, 0.2);
  const Task attend = task_of(Stage::attend, false, 65536);
  EXPECT_NEAR(ms(attend, attend.kernel.tile) / 7.39, 1, 0.2);
  const Task int8 = task_of(Stage::select, false, 65536);
  EXPECT_NEAR(ms(int8, int8.kernel.tile) / 13.1, 1, 0.2);
  const Task fp8 = task_of(Stage::select, false, 65536, Estimator::fp8);
  EXPECT_NEAR(ms(fp8, fp8.kernel.tile) / 10.9, 1, 0.2);
}

TEST(CostModel, KnowsWhatMattersOnHopper) {
  const Task dense = task_of(Stage::attend, true, 65536);
  const auto attend_with = [&](int keys) { return ms(dense, {16, 8, keys, 2, 1}); };
  EXPECT_LT(attend_with(128), attend_with(64)) << "fewer steps";
  EXPECT_LT(attend_with(64), attend_with(32));
  const Task select = task_of(Stage::select, false, 65536);
  EXPECT_LT(ms(select, {64, 8, 128, 6, 1}), ms(select, {16, 8, 128, 6, 1})) << "more rows for the same keys";
  const Task sparse = task_of(Stage::attend, false, 65536);
  Task sparser = sparse;
  sparser.density = 0.05F;
  EXPECT_LT(ms(sparser, sparse.kernel.tile), ms(sparse, sparse.kernel.tile));
}

TEST(RankCorrelation, IsSpearmans) {
  EXPECT_DOUBLE_EQ(rank_correlation({1, 2, 3, 4}, {10, 20, 30, 400}), 1);
  EXPECT_DOUBLE_EQ(rank_correlation({1, 2, 3, 4}, {4, 3, 2, 1}), -1);
  EXPECT_DOUBLE_EQ(rank_correlation({1, 2, 3}, {5, 5, 5}), 0);
  EXPECT_DOUBLE_EQ(rank_correlation({}, {}), 0);
  EXPECT_NEAR(rank_correlation({1, 2, 2, 3}, {1, 2, 3, 4}), 0.9486832980505138, 1e-12) << "ties";
}

} // namespace
} // namespace sale::autotune
