// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/occupancy.hpp"
#include "autotune/space/shortlist.hpp"
#include "generator/generate.hpp"
#include "sale/error.hpp"
#include "tests/support/any_nvrtc.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

namespace sale::autotune {
namespace {

KernelSpec kernel_of(Stage stage, const char *arch) {
  for (const KernelSpec &spec : plan_kernels({}, {}, parse_arch(arch))) {
    if (spec.stage == stage) {
      return spec;
    }
  }
  return {};
}

// Against what cuda_occupancy.h says.
TEST(OccupancyTest, CountsWhatAnSmHolds) {
  const Arch hopper = parse_arch("sm_90a");
  const Arch ada = parse_arch("sm_89");
  EXPECT_EQ(ctas_per_sm(hopper, 128, 0, 0), 16);  // threads
  EXPECT_EQ(ctas_per_sm(hopper, 32, 0, 0), 32);   // CTAs
  EXPECT_EQ(ctas_per_sm(hopper, 128, 255, 0), 2); // registers, in units of 256 a warp
  EXPECT_EQ(ctas_per_sm(hopper, 128, 128, 0), 4);
  EXPECT_EQ(ctas_per_sm(hopper, 128, 129, 0), 3); // 136
  EXPECT_EQ(ctas_per_sm(hopper, 384, 168, 0), 1);
  EXPECT_EQ(ctas_per_sm(hopper, 1024, 72, 0), 0); // no launch
  EXPECT_EQ(ctas_per_sm(hopper, 96, 168, 0), 4);  // 12 warps, 3 a part
  EXPECT_EQ(ctas_per_sm(hopper, 128, 0, 227 * 1024), 1);
  EXPECT_EQ(ctas_per_sm(hopper, 128, 0, 113 * 1024), 2); // 1 KiB of each is the system's
  EXPECT_EQ(ctas_per_sm(hopper, 128, 0, 113 * 1024 + 1), 1);
  EXPECT_EQ(ctas_per_sm(hopper, 128, 0, 228 * 1024), 0);
  EXPECT_EQ(ctas_per_sm(ada, 128, 0, 0), 12);
  EXPECT_EQ(ctas_per_sm(ada, 32, 0, 0), 24);
  EXPECT_EQ(ctas_per_sm(ada, 128, 0, 99 * 1024), 1);
}

TEST(ShortlistTest, KnowsResourcesWithoutACompiler) {
  for (const char *arch : {"sm_80", "sm_89", "sm_90a", "sm_120"}) {
    for (const Stage stage : {Stage::prepare, Stage::select, Stage::attend}) {
      const KernelSpec spec = kernel_of(stage, arch);
      const Shortlist list = estimate(spec, SearchSpace::shipped());
      ASSERT_FALSE(list.candidates.empty());
      EXPECT_EQ(list.candidates.front().tile, default_tile(spec));
      EXPECT_EQ(list.steps.back().left, list.candidates.size());
      EXPECT_EQ(list.candidates.size() + list.left_out.size(), SearchSpace::shipped().tiles(spec).tiles.size());
      for (const Candidate &candidate : list.candidates) {
        KernelSpec with = spec;
        with.tile = candidate.tile;
        EXPECT_EQ(candidate.use.shared_memory, with.shared_memory());
        // The default may hope for more: where fewer fit, they have its registers all the same.
        if (candidate.tile != default_tile(spec)) {
          EXPECT_GE(candidate.use.ctas_per_sm, candidate.tile.min_ctas) << with.describe();
        }
        EXPECT_EQ(candidate.use.registers, 0);
      }
    }
  }
}

class CompiledShortlist : public testing::Test {
protected:
  void SetUp() override {
    nvrtc_ = any_nvrtc();
    if (!nvrtc_) {
      GTEST_SKIP() << "no NVRTC on this machine";
    }
    options_.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
    spec_ = kernel_of(Stage::attend, "sm_80");
  }

  Shortlist of(const std::vector<Tile> &tiles) const {
    Shortlist list;
    for (const Tile &tile : tiles) {
      list.candidates.push_back({.tile = tile, .use = {}});
    }
    return list;
  }

  std::shared_ptr<const Nvrtc> nvrtc_;
  Options options_;
  KernelSpec spec_;
};

TEST_F(CompiledShortlist, LeavesOutWhatDoesNotCompileOrSpillsOrIsTheSame) {
  const Tile first = default_tile(spec_);
  Tile narrow = first;
  narrow.rows_per_warp = 16;
  Tile spilling = first;
  spilling.min_ctas = 4;
  Tile impossible = first;
  impossible.keys_per_step = 48;
  Tile same = first; // two CTAs of 128 threads have all the registers that one could use
  same.min_ctas = 1;
  const KernelFactory factory(options_);
  std::vector<int> told;
  const Shortlist list =
      compile(of({first, impossible, spilling, narrow, same}), spec_, factory, 2, {}, [&](int done, int total) {
        EXPECT_EQ(total, 5);
        told.push_back(done);
      });
  EXPECT_EQ(told, (std::vector<int>{1, 2, 3, 4, 5}));
  ASSERT_EQ(list.left_out.size(), 3U);
  EXPECT_EQ(list.left_out[0].tile, impossible);
  EXPECT_EQ(list.left_out[1].tile, spilling);
  EXPECT_NE(list.left_out[1].why.find("it spills "), std::string::npos);
  EXPECT_EQ(list.left_out[2].tile, same);
  EXPECT_EQ(list.left_out[2].why, "its kernel has the registers of the one for 2 CTAs per SM");
  ASSERT_EQ(list.candidates.size(), 2U);
  EXPECT_EQ(list.candidates[0].tile, first);
  EXPECT_EQ(list.candidates[1].tile, narrow);
  for (const Candidate &candidate : list.candidates) {
    EXPECT_GT(candidate.use.registers, 0);
    EXPECT_GE(candidate.use.ctas_per_sm, 1);
    EXPECT_GT(candidate.use.shared_memory, 0);
  }
  ASSERT_EQ(list.steps.size(), 3U);
  EXPECT_EQ(list.steps[0].left, 4U);
  EXPECT_EQ(list.steps[1].left, 3U);
  EXPECT_EQ(list.steps[2].left, 2U);
}

TEST_F(CompiledShortlist, EndsWhenCancelled) {
  const KernelFactory factory(options_);
  try {
    compile(of({default_tile(spec_)}), spec_, factory, 1, [] { return true; }, {});
    FAIL() << "it must end";
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
}

TEST_F(CompiledShortlist, IsNotMadeWithoutACompilerForTheDefault) {
  options_.nvrtc = "/nonexistent/libnvrtc.so";
  options_.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache-of-nobody";
  const KernelFactory factory(options_);
  EXPECT_THROW(compile(of({default_tile(spec_)}), spec_, factory, 1, {}, {}), Error);
}

} // namespace
} // namespace sale::autotune
