// SPDX-License-Identifier: Apache-2.0
#include "generator/tuning.hpp"
#include "generator/generate.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

const Arch hopper{9, 0, true};

KernelSpec spec_of(Stage stage) {
  for (const KernelSpec &spec : plan_kernels(Problem(), Policy(), hopper)) {
    if (spec.stage == stage) {
      return spec;
    }
  }
  return {};
}

TuningRecord record_of(const KernelSpec &spec, const std::vector<TileChoice> &choices) {
  TuningRecord record = empty_record();
  record.source = "gpu.yaml";
  record.gpus.push_back({"Some GPU", spec.arch, 132, {}, {{spec.class_name(), choices}}});
  return record;
}

std::vector<Tile> tiles(const std::vector<KernelSpec> &specs, Stage stage) {
  std::vector<Tile> found;
  for (const KernelSpec &spec : specs) {
    if (spec.stage == stage && !spec.dense) {
      found.push_back(spec.tile);
    }
  }
  return found;
}

std::string refusal(const TuningRecord &record, const KernelSpec &spec) {
  try {
    choices_for(record, record.gpus.front(), spec);
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "accepted";
}

TEST(Tuning, NamesKernelsByAllButTheirTile) {
  const KernelSpec spec = spec_of(Stage::attend);
  KernelSpec wide = spec;
  wide.tile.keys_per_step = 64;
  EXPECT_EQ(spec.class_name(), "attend sm_90a bf16 d128 gqa4 q64 k32");
  EXPECT_EQ(wide.class_name(), spec.class_name());
  EXPECT_NE(wide.describe(), spec.describe());
  EXPECT_EQ(spec.describe().rfind(spec.class_name() + " rows ", 0), 0U);
}

TEST(Tuning, ChoosesByLengthThenDensity) {
  const TileChoice short_sparse{.up_to_tokens = 8192, .up_to_density = 0.25F, .tile = {}, .facts = {}};
  EXPECT_TRUE(short_sparse.serves(8192, 0.25F));
  EXPECT_FALSE(short_sparse.serves(8193, 0.25F));
  EXPECT_FALSE(short_sparse.serves(8192, 0.26F));
  EXPECT_FALSE(short_sparse.serves(8192, 0)) << "unknown counts as dense";
  EXPECT_TRUE(TileChoice().serves(1 << 20, 0));
}

TEST(Tuning, ListsEveryTileOnceBesideTheDefault) {
  const KernelSpec attend = spec_of(Stage::attend);
  Tile narrow = attend.tile;
  narrow.keys_per_step = 64;
  const TuningRecord record = record_of(attend, {{.up_to_tokens = 8192, .tile = narrow, .facts = {}},
                                                 {.up_to_tokens = 16384, .tile = attend.tile, .facts = {}},
                                                 {.tile = narrow, .facts = {}}});
  const std::vector<KernelSpec> specs = plan_kernels(Problem(), Policy(), hopper);
  const std::vector<KernelSpec> all = with_choices(specs, record, tunings_for(record, "", hopper));
  EXPECT_EQ(all.size(), specs.size() + 1);
  EXPECT_EQ(tiles(all, Stage::attend), (std::vector<Tile>{attend.tile, narrow}));
  EXPECT_EQ(with_choices(specs, record, tunings_for(record, "Another GPU", hopper)).size(), specs.size());
}

TEST(Tuning, IsForOneGpuAlone) {
  const TuningRecord record = record_of(spec_of(Stage::attend), {TileChoice()});
  EXPECT_NE(tuning_for(record, "Some GPU", hopper, 132), nullptr);
  EXPECT_EQ(tuning_for(record, "Some GPU", hopper, 114), nullptr) << "a slice of it";
  EXPECT_EQ(tuning_for(record, "Some GPU", Arch{9, 0}, 132), nullptr);
  EXPECT_EQ(tuning_for(record, "Some", hopper, 132), nullptr);
}

TEST(Tuning, RefusesATileThatTheKernelCannotHave) {
  const KernelSpec attend = spec_of(Stage::attend);
  Tile tile = attend.tile;
  tile.stages = 8;
  EXPECT_NE(refusal(record_of(attend, {{.tile = tile, .facts = {}}}), attend)
                .find("gpu.yaml: a tile of \"attend sm_90a bf16 d128 gqa4 q64 k32\" for Some GPU is impossible: "),
            std::string::npos);
  tile = attend.tile;
  tile.min_ctas = 2;
  EXPECT_NE(refusal(record_of(attend, {{.tile = tile, .facts = {}}}), attend).find("min_ctas 2 must be 1"),
            std::string::npos);
  tile.min_ctas = 1;
  tile.warps = 4;
  EXPECT_NE(refusal(record_of(attend, {{.tile = tile, .facts = {}}}), attend).find("4 warps are neither"),
            std::string::npos);
}

TEST(Tuning, RefusesATileThatWouldMoveMasks) {
  KernelSpec prepare = spec_of(Stage::prepare);
  prepare.block_k = 64;
  Tile tile = prepare.tile;
  tile.keys_per_step = 64;
  EXPECT_NE(refusal(record_of(prepare, {{.tile = tile, .facts = {}}}), prepare).find("masks depend on it"),
            std::string::npos);
}

TEST(Tuning, KnowsWhetherARecordIsOfItsOwnKernels) {
  TuningRecord record = empty_record();
  EXPECT_TRUE(is_for_this_library(record));
  EXPECT_EQ(record.templates.size(), 16U);
  record.templates[0] = record.templates[0] == '0' ? '1' : '0';
  EXPECT_FALSE(is_for_this_library(record));
  record = empty_record();
  record.library = "0.0.1";
  EXPECT_FALSE(is_for_this_library(record));
}

} // namespace
} // namespace sale
