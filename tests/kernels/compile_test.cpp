// SPDX-License-Identifier: Apache-2.0
// Default kernels compile for every architecture without spilling more than a few registers. Needs NVRTC, no GPU.
#include "generator/arch.hpp"
#include "runtime/nvrtc.hpp"
#include "runtime/nvrtc_search.hpp"
#include "sale/sale.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace sale {
namespace {

// What this machine's NVRTC compiles for; empty where there is none. One that is there and broken fails the test.
struct Compiler {
  std::vector<std::string> archs;

  Compiler() {
    const NvrtcSearchResult found = find_nvrtc(nvrtc_places({}, SearchEnvironment::of_process()));
    if (!found.files) {
      return;
    }
    const auto known = Nvrtc::open(*found.files)->archs();
    for (const Arch &arch : supported_archs()) {
      if (std::find(known.begin(), known.end(), 10 * arch.major + arch.minor) != known.end()) {
        archs.push_back(arch.name());
      }
    }
  }

  // One of each: 163, 99 and 227 KiB of shared memory, with and without int4 tensor cores, and each generation.
  std::vector<std::string> one_of_each() const {
    std::vector<std::string> some;
    for (const char *name : {"sm_80", "sm_89", "sm_90", "sm_100", "sm_120"}) {
      if (std::find(archs.begin(), archs.end(), name) != archs.end()) {
        some.emplace_back(name);
      }
    }
    return some;
  }
};

void expect_good_code(const std::vector<std::string> &archs, const Problem &problem, const Policy &policy) {
  Options options;
  options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
  const std::vector<KernelInfo> infos = prewarm(archs, problem, policy, options);
  ASSERT_GE(infos.size(), 4 * archs.size());
  for (const KernelInfo &info : infos) {
    // At 255 registers a few words come and go with the version of ptxas; an array in local memory would be hundreds.
    EXPECT_LE(info.spill_bytes, 128) << info.name;
    EXPECT_GT(info.registers, 0) << info.name;
  }
}

struct Combination {
  int head_dim;
  Estimator estimator;
  int block_q;
  int block_k;
};

class CompileTest : public ::testing::TestWithParam<Combination> {};

TEST_P(CompileTest, NoDefaultKernelSpillsMoreThanAFewWords) {
  Problem problem;
  problem.head_dim = GetParam().head_dim;
  problem.dtype = GetParam().block_k == 32 ? DType::bf16 : DType::f16;
  Policy policy;
  policy.estimator = GetParam().estimator;
  policy.block_q = GetParam().block_q;
  policy.block_k = GetParam().block_k;
  const Compiler compiler;
  if (compiler.archs.empty()) {
    GTEST_SKIP() << "no NVRTC on this machine";
  }
  expect_good_code(compiler.one_of_each(), problem, policy);
}

TEST(EveryArchTest, CompilesTheKernelsOfLlama) {
  const Compiler compiler;
  if (compiler.archs.empty()) {
    GTEST_SKIP() << "no NVRTC on this machine";
  }
  expect_good_code(compiler.archs, Problem{}, Policy{});
}

std::vector<Combination> combinations() {
  std::vector<Combination> all;
  for (const int head_dim : {64, 96, 128, 256}) {
    all.push_back({head_dim, Estimator::int8, 64, 32});
    all.push_back({head_dim, Estimator::int4, 128, 64});
    all.push_back({head_dim, Estimator::exact, 64, 128});
  }
  return all;
}

std::string name_of(const ::testing::TestParamInfo<Combination> &info) {
  return fmt::format("d{}_{}_q{}_k{}", info.param.head_dim, to_string(info.param.estimator), info.param.block_q,
                     info.param.block_k);
}

INSTANTIATE_TEST_SUITE_P(Defaults, CompileTest, ::testing::ValuesIn(combinations()), name_of);

} // namespace
} // namespace sale
