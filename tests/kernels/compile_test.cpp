// SPDX-License-Identifier: Apache-2.0
// Every default kernel compiles for every family of architectures, without spilling registers. Needs NVRTC, no GPU.
#include "sale/sale.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace sale {
namespace {

// One of each: 163, 99 and 227 KiB of shared memory, with and without int4 tensor cores, and each generation.
const std::vector<std::string> archs = {"sm_80", "sm_89", "sm_90", "sm_100", "sm_120"};

struct Combination {
  int head_dim;
  Estimator estimator;
  int block_q;
  int block_k;
};

class CompileTest : public ::testing::TestWithParam<Combination> {};

TEST_P(CompileTest, NoDefaultKernelSpills) {
  Problem problem;
  problem.head_dim = GetParam().head_dim;
  problem.dtype = GetParam().block_k == 32 ? DType::bf16 : DType::f16;
  Policy policy;
  policy.estimator = GetParam().estimator;
  policy.block_q = GetParam().block_q;
  policy.block_k = GetParam().block_k;
  Options options;
  options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
  std::vector<KernelInfo> infos;
  try {
    infos = prewarm(archs, problem, policy, options);
  } catch (const Error &error) {
    if (error.kind() == ErrorKind::not_found) {
      GTEST_SKIP() << error.what();
    }
    throw;
  }
  for (const KernelInfo &info : infos) {
    EXPECT_EQ(info.spill_bytes, 0) << info.name;
    EXPECT_GT(info.registers, 0) << info.name;
  }
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
