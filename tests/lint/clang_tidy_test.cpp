// SPDX-License-Identifier: Apache-2.0
// The checks of templates/.clang-tidy on one kernel per stage and estimator: seconds each, and they see a template's
// every path.
#include "command.hpp"
#include "generator/generate.hpp"
#include "kernel_files.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace sale {
namespace {

class ClangTidyTest : public ::testing::TestWithParam<KernelSpec> {};

TEST_P(ClangTidyTest, FindsNothing) {
  if (std::string(SALE_CLANG_TIDY).empty()) {
    GTEST_SKIP() << "clang-tidy-19 is not installed";
  }
  const CommandResult result =
      run_command(fmt::format("cd {0}/templates && {1} --quiet --config-file=.clang-tidy '{2}' -- {3}", SALE_SOURCE_DIR,
                              SALE_CLANG_TIDY, write_kernel(GetParam(), "clang-tidy").string(), clang_flags()));
  EXPECT_TRUE(result.succeeded) << result.output;
}

// int4 is another kernel where tensor cores take it.
std::vector<KernelSpec> specs() {
  std::vector<KernelSpec> all;
  for (const Arch arch : {Arch{8, 0}, Arch{9, 0}}) {
    for (const Estimator estimator : {Estimator::exact, Estimator::int8, Estimator::int4}) {
      if (arch.major == 8 && estimator != Estimator::int4) {
        continue;
      }
      Problem problem;
      problem.head_dim = 96; // whose rows no number of threads divides
      Policy policy;
      policy.estimator = estimator;
      for (const KernelSpec &spec : plan_kernels(problem, policy, arch)) {
        const bool once = spec.stage == Stage::mean || spec.stage == Stage::attend;
        if (!once || (arch.major == 9 && estimator == Estimator::int8)) {
          all.push_back(spec);
        }
      }
    }
  }
  return all;
}

std::string name_of(const ::testing::TestParamInfo<KernelSpec> &info) {
  const KernelSpec &spec = info.param;
  return fmt::format("{}_{}_{}{}", spec.arch.name(), to_string(spec.stage), to_string(spec.estimator),
                     spec.dense ? "_dense" : "");
}

INSTANTIATE_TEST_SUITE_P(Kernels, ClangTidyTest, ::testing::ValuesIn(specs()), name_of);

} // namespace
} // namespace sale
