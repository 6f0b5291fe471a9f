// SPDX-License-Identifier: Apache-2.0
// No default kernel spills, and none takes more or less of a GPU than goldens/ says. Needs NVRTC, no GPU.
#include "golden_file.hpp"
#include "golden_kernels.hpp"
#include "tests/support/any_nvrtc.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace sale {
namespace {

class GoldensTest : public ::testing::TestWithParam<Arch> {};

GoldenFile golden_of(const Arch &arch) {
  std::ifstream file(golden_path(arch.name()));
  return parse_goldens({std::istreambuf_iterator<char>(file), {}});
}

TEST_P(GoldensTest, TheCostOfEveryKernelIsOnRecord) {
  const auto nvrtc = any_nvrtc();
  if (!nvrtc || !compiles_for(*nvrtc, GetParam())) {
    GTEST_SKIP() << (nvrtc ? "this NVRTC does not know the architecture" : "no NVRTC on this machine");
  }
  Options options;
  options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
  const std::vector<KernelCost> costs = measure_kernels(golden_kernels(GetParam()), options);
  for (const KernelCost &cost : costs) {
    EXPECT_EQ(cost.spill_bytes, 0) << cost.name;
    EXPECT_EQ(cost.local_bytes, 0) << cost.name;
    EXPECT_LE(cost.static_shared_bytes + cost.dynamic_shared_bytes, GetParam().max_shared_memory()) << cost.name;
  }
  const GoldenFile golden = golden_of(GetParam());
  if (golden.nvrtc != nvrtc->version()) {
    GTEST_SKIP() << "the goldens are of NVRTC " << golden.nvrtc << ", this is " << nvrtc->version();
  }
  const std::vector<std::string> differences = compare_goldens(golden, costs);
  EXPECT_TRUE(differences.empty()) << fmt::format(
      "{} differs (old -> new):\n  {}\nIf that is meant: scripts/update-goldens",
      golden_path(GetParam().name()).filename().string(), fmt::join(differences, "\n  "));
}

std::string name_of(const ::testing::TestParamInfo<Arch> &info) { return info.param.name(); }

INSTANTIATE_TEST_SUITE_P(Archs, GoldensTest, ::testing::ValuesIn(golden_archs()), name_of);

} // namespace
} // namespace sale
