// SPDX-License-Identifier: Apache-2.0
// Whole calls of Plans with a tuning record: any tile of one stage goes with any tile of the others. Masks and
// thresholds are the same to the bit, outputs but for rounding.
#include "tests/emulator/kernels/whole_call.hpp"

#include "generator/generate.hpp"
#include "generator/tuning.hpp"
#include "runtime/device.hpp"

#include <bit>
#include <cmath>

namespace sale::test {
namespace {

struct Case {
  const char *name;
  const char *arch;
  Estimator estimator;
  bool ragged;
  Tile prepare, select, attend, dense;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

constexpr Tile tile(int rows_per_warp, int warps, int keys, int stages) {
  return {.rows_per_warp = rows_per_warp, .warps = warps, .keys_per_step = keys, .stages = stages, .min_ctas = 1};
}

const Case cases[] = {
    {"WarpProducts", "sm_90", Estimator::int8, false, tile(16, 4, 32, 3), tile(32, 2, 128, 2), tile(16, 4, 32, 3),
     tile(32, 2, 64, 3)},
    {"RaggedWarpProducts", "sm_80", Estimator::int4, true, tile(16, 8, 32, 2), tile(16, 8, 32, 4), tile(16, 8, 64, 3),
     tile(16, 4, 64, 2)},
    {"Warpgroups", "sm_90a", Estimator::fp8, false, tile(16, 4, 32, 4), tile(16, 8, 128, 3), tile(16, 8, 96, 2),
     tile(16, 12, 64, 2)},
    {"RaggedWarpgroups", "sm_90a", Estimator::int8, true, tile(16, 8, 32, 3), tile(32, 8, 128, 2), tile(16, 8, 160, 2),
     tile(16, 8, 64, 5)},
};

// Up to these densities a stage takes its other tile.
constexpr float of_prepare = 0.75F;
constexpr float of_select = 0.5F;
constexpr float of_attend = 0.25F;

struct Result {
  std::vector<std::uint32_t> mask;
  std::vector<std::uint16_t> out;
  std::vector<float> lse;
};

class TunedTiles : public WholeCallTest, public ::testing::WithParamInterface<Case> {
protected:
  static constexpr int kv_len = 420;
  static constexpr int q_len = 330;

  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    policy_.estimator = GetParam().estimator;
    serving_.ragged = GetParam().ragged;
    upload({1, q_len, kv_len});
  }

  // Another tile for each stage, by density.
  TuningRecord record(const sale::Device &gpu) const {
    const Case &c = GetParam();
    TuningRecord record = empty_record();
    record.source = "the test's record";
    record.gpus.push_back({gpu.name(), parse_arch(c.arch), gpu.multiprocessors(), {}, {}});
    for (const KernelSpec &spec : plan_kernels(problem_, policy_, parse_arch(c.arch), serving_)) {
      std::vector<TileChoice> choices;
      if (spec.stage == Stage::prepare) {
        choices.push_back({.up_to_density = of_prepare, .tile = c.prepare, .facts = {}});
      } else if (spec.stage == Stage::select) {
        choices.push_back({.up_to_density = of_select, .tile = c.select, .facts = {}});
      } else if (spec.stage == Stage::attend && !spec.dense) {
        choices.push_back({.up_to_density = of_attend, .tile = c.attend, .facts = {}});
      } else if (spec.stage == Stage::attend) {
        choices.push_back({.up_to_tokens = 1024, .tile = c.dense, .facts = {}});
      } else {
        continue;
      }
      EXPECT_NE(choices.front().tile, spec.tile) << spec.describe();
      choices.push_back({.tile = spec.tile, .facts = {}});
      record.gpus.front().kernels.push_back({spec.class_name(), choices});
    }
    return record;
  }

  enum class Keep { some, all, dense };

  Result run(const Plan &plan, float density, Keep keep = Keep::some) const {
    const Device &device = Device::get();
    RunArgs args = inputs();
    args.expected_density = density;
    const auto out = out_of(shape_);
    const auto lse = device.allocate(std::size_t{4} * heads * q_len);
    const auto mask = device.allocate(4 * mask_words(problem_, policy_, args.shape));
    const auto workspace = device.allocate(plan.workspace_bytes(args.shape));
    args.out = packed_view(out->as<void>(), heads, q_len, head_dim);
    args.lse = lse->as<float>();
    args.workspace = workspace->as<void>();
    args.workspace_bytes = plan.workspace_bytes(args.shape);
    const auto tau = device.upload(std::vector<float>(heads, 0.0F));
    if (keep == Keep::dense) {
      plan.run_dense(args, nullptr);
      return {{}, out->read<std::uint16_t>(), lse->read<float>()};
    }
    args.tau = keep == Keep::all ? tau->as<const float>() : nullptr;
    args.mask_out = mask->as<std::uint32_t>();
    plan.run(args, nullptr);
    return {mask->read<std::uint32_t>(), out->read<std::uint16_t>(), lse->read<float>()};
  }

  void expect_rounding(const Result &one, const Result &other) const {
    const auto value = [](std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); };
    ASSERT_EQ(one.out.size(), other.out.size());
    for (std::size_t i = 0; i < one.out.size(); ++i) {
      const float expected = value(other.out[i]);
      ASSERT_NEAR(value(one.out[i]), expected, 0.02F + 0.02F * std::abs(expected)) << i;
    }
    for (std::size_t i = 0; i < one.lse.size(); ++i) {
      ASSERT_NEAR(one.lse[i], other.lse[i], 1e-3F) << i;
    }
  }
};

TEST_P(TunedTiles, OfEveryStageGoTogether) {
  Options with = engine_options(GetParam().arch);
  const sale::Device gpu(Driver::open(with.cuda_driver), -1);
  with.tuning = std::make_shared<const TuningRecord>(record(gpu));
  with.log = [](LogLevel, const std::string &sentence) { ADD_FAILURE() << sentence; };
  const Plan plan = Engine(-1, with).prepare(problem_, policy_, serving_);
  const std::size_t defaults = plan_kernels(problem_, policy_, parse_arch(GetParam().arch), serving_).size();
  ASSERT_EQ(plan.kernels().size(), defaults + 4);

  const Result all_default = run(plan, 0);
  for (const float density : {of_prepare, of_select, of_attend}) {
    const Result tuned = run(plan, density);
    EXPECT_EQ(tuned.mask, all_default.mask) << density;
    if (density > of_attend) {
      EXPECT_EQ(tuned.out, all_default.out) << density << ": the same mask, the same attend";
    }
    expect_rounding(tuned, all_default);
  }
  expect_rounding(run(plan, 0, Keep::dense), run(plan, 0, Keep::all));
  EXPECT_NE(run(plan, of_attend).out, all_default.out) << "the tile is another, and shows in the last bits";
}

std::string name_of(const ::testing::TestParamInfo<Case> &info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Cases, TunedTiles, ::testing::ValuesIn(cases), name_of);

} // namespace
} // namespace sale::test
