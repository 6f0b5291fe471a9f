// SPDX-License-Identifier: Apache-2.0
#include "autotune/record/edit.hpp"
#include "autotune/record/record.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale::autotune {
namespace {

constexpr const char *attend = "attend sm_90a bf16 d128 gqa4 q64 k32";
constexpr const char *select = "select sm_90a bf16 d128 gqa4 int8 q64 k32";

TileChoice choice(int keys, int up_to_tokens = TileChoice::all_tokens, float up_to_density = 1) {
  TileChoice made;
  made.up_to_tokens = up_to_tokens;
  made.up_to_density = up_to_density;
  made.tile = {16, 8, keys, 3, 1};
  return made;
}

TuningRecord record(const std::string &source, std::vector<KernelTuning> kernels, const std::string &gpu = "H100") {
  TuningRecord made = empty_record();
  made.source = source;
  made.gpus.push_back({gpu, parse_arch("sm_90a"), 132, {{"from", source}}, std::move(kernels)});
  return made;
}

TEST(Merged, TakesWholeKernelsOfTheSecond) {
  const TuningRecord base = record("a", {{attend, {choice(96, 8192), choice(128)}}, {select, {choice(128)}}});
  const TuningRecord over = record("b", {{attend, {choice(64)}}});
  const TuningRecord both = merged(base, over);
  ASSERT_EQ(both.gpus.size(), 1U);
  EXPECT_EQ(both.gpus[0].facts.at("from"), "b");
  ASSERT_EQ(both.gpus[0].kernels.size(), 2U);
  ASSERT_EQ(both.gpus[0].kernels[0].choices.size(), 1U);
  EXPECT_EQ(both.gpus[0].kernels[0].choices[0].tile.keys_per_step, 64);
  EXPECT_EQ(both.gpus[0].kernels[1].kernel, select);
}

TEST(Merged, KeepsGpusApartAndOrdersThem) {
  TuningRecord other = record("b", {{attend, {choice(64)}}}, "A100");
  const TuningRecord both = merged(record("a", {{attend, {choice(128)}}}), other);
  ASSERT_EQ(both.gpus.size(), 2U);
  EXPECT_EQ(both.gpus[0].name, "A100");
  other = record("b", {{attend, {choice(64)}}});
  other.gpus[0].multiprocessors = 114;
  EXPECT_EQ(merged(record("a", {{attend, {choice(128)}}}), other).gpus.size(), 2U);
  EXPECT_EQ(record_text(merged(both, both)), record_text(both));
}

TEST(Merged, RefusesRecordsOfOtherKernels) {
  TuningRecord other = record("b", {{attend, {choice(64)}}});
  other.templates = "0123";
  try {
    merged(record("a", {{attend, {choice(128)}}}), other);
    FAIL();
  } catch (const Error &error) {
    EXPECT_NE(std::string(error.what()).find("measured with different kernels"), std::string::npos);
  }
}

TEST(Only, KeepsWhatIsAskedFor) {
  TuningRecord all = record("a", {{attend, {choice(96)}}, {select, {choice(128)}}});
  all.gpus.push_back(record("a", {{attend, {choice(64)}}}, "A100").gpus.front());
  EXPECT_EQ(only(all, "", "").gpus.size(), 2U);
  EXPECT_EQ(only(all, "H100", "").gpus.size(), 1U);
  EXPECT_EQ(only(all, "H100", "sm_80").gpus.size(), 0U);
  EXPECT_EQ(only(all, "", "sm_90a", select).gpus.size(), 1U);
  EXPECT_EQ(only(all, "", "", select).gpus[0].kernels.size(), 1U);
}

TEST(Differences, AreTheCallsWhoseTileDiffers) {
  const TuningRecord before = record("a", {{attend, {choice(96, 8192), choice(128)}}});
  const TuningRecord after =
      record("b", {{attend, {choice(96, 8192), choice(64, 65536, 0.08F), choice(128, 65536), choice(128)}},
                   {select, {choice(128)}}});
  EXPECT_TRUE(differences(before, before).empty());
  const std::vector<TuningDifference> found = differences(before, after);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].kernel, attend);
  EXPECT_EQ(found[0].calls, "up to 65536 tokens, up to density 0.08");
  EXPECT_EQ(found[0].before, "16x8/128/3/1");
  EXPECT_EQ(found[0].after, "16x8/64/3/1");
  EXPECT_EQ(found[1].kernel, select);
  EXPECT_EQ(found[1].calls, "all");
  EXPECT_EQ(found[1].before, "");
  EXPECT_EQ(differences(after, before).size(), 2U);
}

} // namespace
} // namespace sale::autotune
