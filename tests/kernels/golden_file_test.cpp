// SPDX-License-Identifier: Apache-2.0
#include "golden_file.hpp"
#include "generator/generate.hpp"
#include "golden_kernels.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace sale {
namespace {

std::vector<KernelCost> two_kernels() {
  return {{"attend bf16 d128 gqa4 dense", "32x4/64x2/2", 255, 0, 0, 0, 98304, 168, 256, "0123456789abcdef"},
          {"mean f16 d64", "16x8/32x2/1", 52, 0, 0, 0, 8208, 72, 0, "00112233445566aa"}};
}

std::vector<std::string> compare_after(void (*change)(std::vector<KernelCost> &)) {
  const GoldenFile golden = parse_goldens(write_goldens("sm_90", "13.0", two_kernels()));
  std::vector<KernelCost> costs = two_kernels();
  change(costs);
  return compare_goldens(golden, costs);
}

using Lines = std::vector<std::string>;

TEST(GoldenFileTest, WhatIsWrittenReadsBackAndIsEqual) {
  const GoldenFile golden = parse_goldens(write_goldens("sm_90", "13.0", two_kernels()));
  EXPECT_EQ(golden.nvrtc, "13.0");
  EXPECT_EQ(golden.kernels.size(), 2U);
  EXPECT_EQ(golden.sources.at("mean f16 d64"), "00112233445566aa");
  EXPECT_EQ(compare_goldens(golden, two_kernels()), Lines{});
}

TEST(GoldenFileTest, AChangeSaysWhatWasAndWhatIs) {
  EXPECT_EQ(compare_after([](auto &costs) {
              costs[0].registers = 128;
              costs[0].spill_bytes = 16;
              costs[0].tile = "16x4/64x2/2";
            }),
            Lines{"attend bf16 d128 gqa4 dense: tile 32x4/64x2/2 -> 16x4/64x2/2, registers 255 -> 128, spill 0 -> 16"});
  EXPECT_EQ(compare_after([](auto &costs) { costs[1].static_shared_bytes = 32; }),
            Lines{"mean f16 d64: shared 0+8208 -> 32+8208"});
  EXPECT_EQ(compare_after([](auto &costs) { costs[1].source = "another"; }), Lines{}) << "of the same cost";
}

TEST(GoldenFileTest, NewAndGoneKernelsAreNamed) {
  EXPECT_EQ(compare_after([](auto &costs) { costs[1].name = "mean f16 d96"; }),
            (Lines{"mean f16 d96: new", "mean f16 d64: gone"}));
}

TEST(GoldenFileTest, ALineThatIsNoKernelIsRefused) {
  const std::string good = write_goldens("sm_90", "13.0", two_kernels());
  EXPECT_THROW(parse_goldens(good + "attend\n"), Error);
  EXPECT_THROW(parse_goldens(good + "\n"), Error);
  EXPECT_THROW(parse_goldens(good + "attend  tile 1\n"), Error) << "of no source";
  EXPECT_THROW(parse_goldens(good + good.substr(good.rfind("mean"))), Error) << "a kernel twice";
  EXPECT_THROW(parse_goldens("attend  tile 1\n"), Error) << "no version";
}

TEST(GoldenFileTest, EveryFileIsOfAnArchitectureThatIsMeasured) {
  std::set<std::string> files;
  for (const auto &file : std::filesystem::directory_iterator(golden_path("").parent_path())) {
    files.insert(file.path().filename().string());
  }
  std::set<std::string> measured;
  for (const Arch &arch : golden_archs()) {
    measured.insert(golden_path(arch.name()).filename().string());
  }
  EXPECT_EQ(files, measured);
}

TEST(GoldenKernelsTest, KernelsOfOneNameHaveOneSource) {
  std::map<std::string, std::string> sources;
  for (const Arch &arch : golden_archs()) {
    for (const KernelSpec &spec : golden_kernels(arch)) {
      for (const DType dtype : {DType::bf16, DType::f16}) {
        for (const int gqa : {1, 4}) {
          KernelSpec other = spec;
          other.dtype = dtype;
          other.gqa = gqa;
          other.tile = default_tile(other);
          std::string source = generate(other);
          source.erase(0, source.find('\n')); // which describes all of the spec
          const auto [known, is_new] = sources.emplace(arch.name() + " " + kernel_name(other), source);
          EXPECT_EQ(known->second, source) << known->first;
        }
      }
    }
  }
}

} // namespace
} // namespace sale
