// SPDX-License-Identifier: Apache-2.0
// No default kernel spills, and none takes more or less of a GPU than goldens/ says. Needs NVRTC, no GPU. Where the
// very source was on record with the same NVRTC, only a sample is compiled again: that the record is true.
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

// One kernel in sixteen.
bool is_in_sample(const std::string &digest) { return digest.ends_with('0'); }

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
  GoldenFile golden = golden_of(GetParam());
  std::vector<KernelSpec> specs = golden_kernels(GetParam());
  if (golden.nvrtc == nvrtc->version()) {
    std::erase_if(specs, [&golden](const KernelSpec &spec) {
      const std::string name = kernel_name(spec);
      const std::string digest = source_digest(spec);
      const auto recorded = golden.sources.find(name);
      if (recorded == golden.sources.end() || recorded->second != digest || is_in_sample(digest)) {
        return false;
      }
      const auto line = golden.kernels.extract(name);
      EXPECT_NE(line.mapped().find("spill 0  local 0  "), std::string::npos) << name << "  " << line.mapped();
      return true;
    });
  }
  const std::vector<KernelCost> costs = measure_kernels(specs, options);
  for (const KernelCost &cost : costs) {
    EXPECT_EQ(cost.spill_bytes, 0) << cost.name;
    EXPECT_EQ(cost.local_bytes, 0) << cost.name;
    EXPECT_LE(cost.static_shared_bytes + cost.dynamic_shared_bytes, GetParam().max_shared_memory()) << cost.name;
  }
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
