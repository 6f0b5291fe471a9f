// SPDX-License-Identifier: Apache-2.0
// The covering set on the emulator: every kernel variant is executed with no GPU.
#include "check/covering_set.hpp"
#include "check/emulator_controls.hpp"
#include "check/run_case.hpp"

#include <gtest/gtest.h>

namespace sale::check {
namespace {

constexpr std::size_t shards = 6; ///< Tests that ctest runs side by side.

class Emulated : public testing::Test {
protected:
  Emulated() {
    emulator.set_workers(1);
    emulator.set_seed(0);
  }
  CaseResult run(const CheckCase &c) { return run_case(c, driver, 0, options); }

  std::shared_ptr<const Driver> driver = Driver::open(SALE_EMULATOR_LIBRARY);
  EmulatorControls emulator{*driver};
  Options options;
};

class EmulatedShard : public Emulated, public testing::WithParamInterface<std::size_t> {};

TEST_P(EmulatedShard, AgreesWithTheOracleInAnyOrderOfThreads) {
  const std::vector<CheckCase> cases = covering_set();
  for (std::size_t i = GetParam(); i < cases.size(); i += shards) {
    emulator.set_seed(i + 1);
    for (const std::string &problem : run(cases[i]).problems) {
      ADD_FAILURE() << problem << "\nby the emulator's seed " << i + 1 << " in\n" << cases[i].yaml();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(CoveringSet, EmulatedShard, testing::Range(std::size_t{0}, shards));

TEST_F(Emulated, CountsTensorCoreInstructions) {
  CheckCase c;
  c.problem.num_q_heads = c.problem.num_kv_heads = 1;
  c.shape = {1, 16, 16};
  const auto before = emulator.products();
  const CaseResult result = run(c);
  EXPECT_TRUE(result.problems.empty());
  EXPECT_EQ(result.kernels.size(), 6U);
  EXPECT_GT(emulator.products(), before);
}

TEST_F(Emulated, RefusesWhatItsArchitectureHasNoSharedMemoryFor) {
  options.cuda_driver = SALE_EMULATOR_LIBRARY;
  options.arch = "sm_90";
  const Engine engine(find_device(*driver, 8, 6), options);
  Problem problem;
  problem.head_dim = 256;
  EXPECT_THROW(engine.prepare(problem, {}), Error);
}

} // namespace
} // namespace sale::check
