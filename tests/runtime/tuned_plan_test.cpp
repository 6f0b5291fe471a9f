// SPDX-License-Identifier: Apache-2.0
// Plans with a tuning record: which kernel a call launches, and what an Engine makes of records that do not fit.
#include "generator/generate.hpp"
#include "generator/tuning.hpp"
#include "tests/runtime/count_allocations.hpp"
#include "tests/runtime/plan_fixture.hpp"

#include <gtest/gtest.h>

#include <set>

namespace sale {
namespace {

constexpr int fake_multiprocessors = 132;

class TunedPlanTest : public PlanTest {
protected:
  TunedPlanTest() {
    record_->source = "fake.yaml";
    record_->gpus.push_back({"Fake GPU", parse_arch(arch_), fake_multiprocessors, {}, {}});
  }

  // The plan's kernels by default, before `record_` says more.
  KernelSpec spec_of(Stage stage, bool dense = false) const {
    for (const KernelSpec &spec : plan_kernels(Problem(), Policy(), parse_arch(arch_))) {
      if (spec.stage == stage && spec.dense == dense) {
        return spec;
      }
    }
    return {};
  }

  void tune(const KernelSpec &spec, std::vector<TileChoice> choices) {
    record_->gpus.front().kernels.push_back({spec.class_name(), std::move(choices)});
  }

  Options tuned_options() {
    Options with = options();
    with.arch = arch_;
    with.tuning = record_;
    fake_cuda().wgmma_family = arch_ == "sm_90a";
    return with;
  }

  // What tells a tile's launch apart.
  static std::string shape_of(const KernelSpec &spec, const Tile &tile) {
    KernelSpec with = spec;
    with.tile = tile;
    return std::to_string(with.threads()) + " threads, " + std::to_string(with.shared_memory()) + " bytes";
  }
  std::string launched(const Plan &plan, const std::string &kernel, const Shape &shape, float density) {
    RunArgs args = args_for(plan, shape);
    args.expected_density = density;
    enqueued(plan, args);
    const FakeCall &call = launch(kernel);
    return std::to_string(call.threads) + " threads, " + std::to_string(call.shared) + " bytes";
  }

  std::shared_ptr<TuningRecord> record_ = std::make_shared<TuningRecord>(empty_record());
};

Tile tile_of(int rows_per_warp, int warps, int keys, int stages) {
  return {.rows_per_warp = rows_per_warp, .warps = warps, .keys_per_step = keys, .stages = stages, .min_ctas = 1};
}

TEST_F(TunedPlanTest, LaunchesTheKernelOfEachLengthAndDensity) {
  const KernelSpec attend = spec_of(Stage::attend);
  const KernelSpec select = spec_of(Stage::select);
  const Tile short_sparse = tile_of(16, 4, 32, 2);
  const Tile short_dense = tile_of(16, 8, 64, 2);
  const Tile long_sparse = tile_of(32, 2, 64, 3);
  tune(attend, {{.up_to_tokens = 1024, .up_to_density = 0.25F, .tile = short_sparse, .facts = {}},
                {.up_to_tokens = 1024, .tile = short_dense, .facts = {}},
                {.up_to_density = 0.5F, .tile = long_sparse, .facts = {}},
                {.tile = attend.tile, .facts = {}}});
  const Tile long_select = tile_of(32, 4, 64, 2);
  tune(select, {{.up_to_tokens = 1024, .tile = select.tile, .facts = {}}, {.tile = long_select, .facts = {}}});
  const Plan plan = Engine(0, tuned_options()).prepare(Problem(), Policy());
  EXPECT_EQ(plan.kernels().size(), 6U + 3 + 1);

  const Shape below{1, 100, 1024};
  const Shape above{1, 100, 1025};
  EXPECT_EQ(launched(plan, "sale_attend", below, 0.1F), shape_of(attend, short_sparse));
  EXPECT_EQ(launched(plan, "sale_attend", below, 0.25F), shape_of(attend, short_sparse));
  EXPECT_EQ(launched(plan, "sale_attend", below, 0.26F), shape_of(attend, short_dense));
  EXPECT_EQ(launched(plan, "sale_attend", below, 0.0F), shape_of(attend, short_dense)) << "unknown counts as dense";
  EXPECT_EQ(launched(plan, "sale_attend", above, 0.5F), shape_of(attend, long_sparse));
  EXPECT_EQ(launched(plan, "sale_attend", above, 0.51F), shape_of(attend, attend.tile));
  EXPECT_EQ(launched(plan, "sale_select", below, 0.1F), shape_of(select, select.tile));
  EXPECT_EQ(launched(plan, "sale_select", above, 0.1F), shape_of(select, long_select));
  // Its grid is of its own rows.
  EXPECT_EQ(grid("sale_select"), (std::vector<unsigned>{1, 32, 1}));
  launched(plan, "sale_attend", {1, 1000, 2000}, 0.1F);
  EXPECT_EQ(grid("sale_attend"), (std::vector<unsigned>{16, 32, 1})) << "tiles of 64 rows";
  EXPECT_EQ(grid("sale_select"), (std::vector<unsigned>{8, 32, 1})) << "tiles of 128 rows";
  std::set<std::string> shapes = {shape_of(attend, short_sparse), shape_of(attend, short_dense),
                                  shape_of(attend, long_sparse), shape_of(attend, attend.tile)};
  EXPECT_EQ(shapes.size(), 4U) << "the test tells them apart";
}

TEST_F(TunedPlanTest, ChoosesAmongDenseKernelsByLengthAlone) {
  const KernelSpec dense = spec_of(Stage::attend, true);
  const Tile narrow = tile_of(16, 4, 32, 2);
  tune(dense, {{.up_to_tokens = 512, .tile = narrow, .facts = {}}, {.tile = dense.tile, .facts = {}}});
  Policy policy;
  policy.dense_below = 4096;
  const Plan plan = Engine(0, tuned_options()).prepare(Problem(), policy);
  EXPECT_EQ(launched(plan, "sale_attend", {1, 100, 512}, 0.01F), shape_of(dense, narrow));
  EXPECT_EQ(launched(plan, "sale_attend", {1, 100, 513}, 0.01F), shape_of(dense, dense.tile));
  fake_cuda().calls.clear();
  plan.run_dense(args_for(plan, {1, 100, 512}), stream_);
  EXPECT_EQ(launch("sale_attend").shared, static_cast<unsigned>([&] {
              KernelSpec spec = dense;
              spec.tile = narrow;
              return spec.shared_memory();
            }()));
}

TEST_F(TunedPlanTest, ChoosesTilesOfWarpgroups) {
  arch_ = "sm_90a";
  record_->gpus.front().arch = parse_arch(arch_);
  const KernelSpec attend = spec_of(Stage::attend);
  const KernelSpec select = spec_of(Stage::select);
  const Tile wide = tile_of(16, 8, 96, 3);
  const Tile halves = tile_of(32, 8, 128, 4);
  tune(attend, {{.up_to_density = 0.2F, .tile = wide, .facts = {}}, {.tile = attend.tile, .facts = {}}});
  tune(select, {{.up_to_density = 0.2F, .tile = halves, .facts = {}}, {.tile = select.tile, .facts = {}}});
  const Plan plan = Engine(0, tuned_options()).prepare(Problem(), Policy());
  const Shape shape{1, 4096, 4096};
  const std::size_t bytes = plan.workspace_bytes(shape);
  EXPECT_EQ(launched(plan, "sale_attend", shape, 0.2F), shape_of(attend, wide));
  EXPECT_EQ(launched(plan, "sale_select", shape, 0.2F), shape_of(select, halves));
  EXPECT_EQ(launched(plan, "sale_attend", shape, 0.3F), shape_of(attend, attend.tile));
  EXPECT_EQ(launched(plan, "sale_select", shape, 0.3F), shape_of(select, select.tile));
  EXPECT_EQ(bytes, prepare(Policy()).workspace_bytes(shape)) << "the workspace is of no tile";
}

TEST_F(TunedPlanTest, ChoosesWithoutTakingMemory) {
  const KernelSpec attend = spec_of(Stage::attend);
  std::vector<TileChoice> choices;
  for (int tokens = 1024; tokens <= 1 << 20; tokens *= 2) {
    choices.push_back({.up_to_tokens = tokens, .up_to_density = 0.5F, .tile = tile_of(16, 4, 32, 2), .facts = {}});
    choices.push_back({.up_to_tokens = tokens, .tile = attend.tile, .facts = {}});
  }
  choices.push_back({.tile = attend.tile, .facts = {}});
  tune(attend, choices);
  const Plan plan = Engine(0, tuned_options()).prepare(Problem(), Policy());
  RunArgs args = args_for(plan, {1, 1000, 1000});
  args.expected_density = 0.1F;
  fake_cuda().recording = false;
  const long before = allocations();
  plan.run(args, stream_);
  EXPECT_EQ(allocations() - before, 0);
}

TEST_F(TunedPlanTest, RefusesADensityThatIsNone) {
  const Plan plan = prepare(Policy());
  RunArgs args = args_for(plan, {1, 100, 100});
  for (const float density : {-0.1F, 1.1F, std::numeric_limits<float>::quiet_NaN()}) {
    args.expected_density = density;
    EXPECT_NE(std::string(error_of([&] { plan.run(args, stream_); }).what()).find("is not between 0 and 1"),
              std::string::npos);
  }
}

TEST_F(TunedPlanTest, TakesDefaultTilesWhereTheRecordIsOfAnotherGpuOrLibrary) {
  const KernelSpec attend = spec_of(Stage::attend);
  tune(attend, {{.tile = tile_of(16, 4, 32, 2), .facts = {}}});
  const auto kernels = [&] { return Engine(0, tuned_options()).prepare(Problem(), Policy()).kernels().size(); };
  EXPECT_EQ(kernels(), 7U);
  EXPECT_TRUE(warnings_.empty());

  record_->gpus.front().multiprocessors = 114;
  EXPECT_EQ(kernels(), 6U);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_EQ(warnings_[0], "fake.yaml has nothing for Fake GPU (sm_90, 132 multiprocessors); default tiles are used");
  record_->gpus.front().multiprocessors = fake_multiprocessors;

  record_->templates = "0000000000000000";
  EXPECT_EQ(kernels(), 6U);
  ASSERT_EQ(warnings_.size(), 2U);
  EXPECT_NE(warnings_[1].find("fake.yaml was measured with other kernels"), std::string::npos);
}

TEST_F(TunedPlanTest, RefusesARecordWithAnImpossibleTile) {
  tune(spec_of(Stage::attend), {{.tile = tile_of(16, 3, 64, 2), .facts = {}}});
  const Engine engine(0, tuned_options());
  const int compiles = fake_compiles();
  const Error error = error_of([&] { engine.prepare(Problem(), Policy()); });
  EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("fake.yaml: a tile of \"attend sm_90 bf16 d128 gqa4 q64 k32\""),
            std::string::npos);
  EXPECT_EQ(fake_compiles(), compiles);
}

} // namespace
} // namespace sale
