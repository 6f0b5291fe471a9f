// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/search_space.hpp"
#include "check/covering_set.hpp"
#include "generator/generate.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace sale::autotune {
namespace {

std::vector<KernelSpec> tunable_kernels(const Problem &problem, const Policy &policy, const Arch &arch) {
  std::vector<KernelSpec> specs = plan_kernels(problem, policy, arch);
  std::erase_if(specs, [](const KernelSpec &spec) { return !is_tunable(spec.stage); });
  return specs;
}

// One kernel of each class that the full product of cases has.
std::vector<KernelSpec> all_kernels() {
  std::set<std::string> known;
  std::vector<KernelSpec> specs;
  for (const check::CheckCase &c : check::full_product()) {
    for (const KernelSpec &spec : plan_kernels(c.problem, c.policy, parse_arch(c.arch), c.serving())) {
      if (is_tunable(spec.stage) && known.insert(spec.class_name()).second) {
        specs.push_back(spec);
      }
    }
  }
  return specs;
}

std::string space_with(const std::string &require, const std::string &more = "") {
  return "schema: 1\nstage: attend\nspaces:\n"
         "  - family: mma_sync\n"
         "    tile: {rows_per_warp: [16, 32], warps: [4], keys_per_step: [64], stages: [2, 3], min_ctas: [1]}\n"
         "    constraints:\n"
         "      - name: why\n"
         "        require: " +
         require + "\n" + more;
}

std::string refusal(const std::string &text) {
  try {
    SearchSpace::parse(text, "space.yaml").tiles(plan_kernels({}, {}, parse_arch("sm_80")).back());
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

std::string replaced(std::string text, const std::string &what, const std::string &by) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos);
  return at == std::string::npos ? text : text.replace(at, what.size(), by);
}

// The default of every kernel is one of the values and meets every constraint: what it was measured with is never the
// odd one out.
TEST(SearchSpaceTest, HasTheDefaultOfEveryKernel) {
  const std::vector<KernelSpec> specs = all_kernels();
  EXPECT_GT(specs.size(), 1000U);
  int odd = 0;
  for (const KernelSpec &spec : specs) {
    const SearchSpace::Tiles found = SearchSpace::shipped().tiles(spec);
    ASSERT_GE(found.steps.size(), 3U) << spec.describe();
    const std::size_t before = found.steps[found.steps.size() - 2].left;
    if (found.tiles.size() != before && odd++ < 20) {
      ADD_FAILURE() << spec.describe() << "\n" << SearchSpace::shipped().text(spec);
    }
  }
  EXPECT_EQ(odd, 0);
}

// What the predicates let through is what validate() lets through.
TEST(SearchSpaceTest, AgreesWithTheGenerator) {
  int odd = 0;
  for (const KernelSpec &spec : all_kernels()) {
    const SearchSpace::Tiles found = SearchSpace::shipped().tiles(spec);
    const std::size_t constrained = found.steps[found.steps.size() - 3].left;
    if (found.steps[found.steps.size() - 2].left != constrained && odd++ < 20) {
      ADD_FAILURE() << SearchSpace::shipped().text(spec);
    }
    EXPECT_EQ(found.tiles.front(), default_tile(spec));
    EXPECT_GT(SearchSpace::shipped().size(spec), 0U);
  }
  EXPECT_EQ(odd, 0);
}

TEST(SearchSpaceTest, NeverChangesWhatPrepareSums) {
  for (const KernelSpec &spec : all_kernels()) {
    if (spec.stage == Stage::prepare) {
      for (const Tile &tile : SearchSpace::shipped().tiles(spec).tiles) {
        ASSERT_EQ(tile.keys_per_step, default_tile(spec).keys_per_step) << spec.describe();
      }
    }
  }
}

TEST(SearchSpaceTest, LeavesAChoiceForEachKernelOfAPlan) {
  for (const Arch &arch : supported_archs()) {
    for (const KernelSpec &spec : tunable_kernels({}, {}, arch)) {
      EXPECT_GE(SearchSpace::shipped().tiles(spec).tiles.size(), 5U) << SearchSpace::shipped().text(spec);
    }
  }
}

TEST(SearchSpaceTest, GivesTilesInTheOrderOfItsValuesAfterTheDefault) {
  const SearchSpace space = SearchSpace::parse(space_with("stages == 2 or rows_per_warp == 16"), "space.yaml");
  KernelSpec spec = plan_kernels({}, {}, parse_arch("sm_80")).back();
  EXPECT_EQ(space.size(spec), 4U);
  const SearchSpace::Tiles found = space.tiles(spec);
  ASSERT_EQ(found.steps.size(), 4U);
  EXPECT_EQ(found.steps[0].left, 4U);
  EXPECT_EQ(found.steps[1].name, "why");
  EXPECT_EQ(found.steps[1].left, 3U);
  EXPECT_EQ(found.steps[3].left, 4U); // the default has two CTAs, and is none of the three
  ASSERT_EQ(found.tiles.size(), 4U);
  EXPECT_EQ(found.tiles[0], default_tile(spec));
  EXPECT_EQ(found.tiles[1].stages, 2);
  EXPECT_EQ(found.tiles[2].stages, 3);
  EXPECT_EQ(found.tiles[3].rows_per_warp, 32);
}

TEST(SearchSpaceTest, HasTheDefaultAloneWhereItSaysNothing) {
  const SearchSpace space = SearchSpace::parse(space_with("causal"), "space.yaml");
  const KernelSpec spec = plan_kernels({}, {}, parse_arch("sm_90a")).back();
  EXPECT_EQ(space.size(spec), 0U);
  EXPECT_EQ(space.tiles(spec).tiles, std::vector<Tile>{default_tile(spec)});
}

TEST(SearchSpaceTest, IsReadable) {
  const std::string text = SearchSpace::shipped().text();
  for (const char *part : {"prepare mma_sync\n", "select wgmma\n", "attend wgmma, when fp8_attend\n",
                           "  masks depend on the order of a threshold's sum:\n"
                           "      keys_per_step == default_keys_per_step\n",
                           "  stages         2, 3, 4\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(SearchSpaceTest, SaysHowManyTilesOfAKernelAreLeft) {
  const SearchSpace space = SearchSpace::parse(space_with("stages == 2 or rows_per_warp == 16"), "space.yaml");
  const KernelSpec spec = plan_kernels({}, {}, parse_arch("sm_80")).back();
  EXPECT_EQ(space.text(spec), spec.class_name() + "\n"
                                                  "      4  all values\n"
                                                  "      3  why\n"
                                                  "      3  a kernel has it\n"
                                                  "      4  the default with them\n");
}

TEST(SearchSpaceTest, SaysWhichLineIsWrong) {
  const std::string good = space_with("causal");
  EXPECT_EQ(refusal(good), "");
  EXPECT_EQ(refusal(space_with("causal and")),
            "space.yaml:8: \"why\": column 11: a number, a name or a parenthesis must stand here");
  EXPECT_NE(refusal(space_with("warps / (stages - stages) == 1")).find("space.yaml:8: column 1: "), std::string::npos);
  EXPECT_NE(refusal(space_with("[1, 2]")).find("space.yaml:8: "), std::string::npos);
  EXPECT_EQ(refusal(replaced(good, "[16, 32]", "[32, 16]")), "space.yaml:5: the values of rows_per_warp must ascend");
  EXPECT_EQ(refusal(replaced(good, "[4]", "[0]")), "space.yaml:5: warps is 0; it must be from 1 to 4096");
  EXPECT_NE(refusal(replaced(good, "[4]", "[4.5]")).find("space.yaml:5: "), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "[4]", "[]")).find("space.yaml:5: "), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "[4]", "[99999999999999999999]")).find("space.yaml:5: "), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "mma_sync", "tcgen05")).find("space.yaml:4: family 'tcgen05'"), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "attend", "mean")).find("space.yaml:2: stage 'mean'"), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "schema: 1", "schema: 2")).find("space.yaml:1: schema 2"), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "stages:", "steps:")).find("space.yaml:5: "), std::string::npos);
  EXPECT_NE(refusal(good + "more: 1\n").find("more"), std::string::npos);
}

TEST(SearchSpaceTest, RefusesMoreTilesThanAnyoneWouldMeasure) {
  std::string many = "[1";
  for (int i = 2; i <= 32; ++i) {
    many += ", " + std::to_string(i);
  }
  many += "]";
  std::string text = replaced(replaced(space_with("causal"), "[16, 32]", many), "[4]", many);
  EXPECT_EQ(refusal(text), ""); // 2048
  text = replaced(text, "[64]", many);
  EXPECT_EQ(refusal(text), "space.yaml:5: these are 65536 tiles; 4096 are the most");
  EXPECT_NE(refusal(std::string(300000, '#')).find("has at most 262144"), std::string::npos);
}

} // namespace
} // namespace sale::autotune
