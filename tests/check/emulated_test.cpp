// SPDX-License-Identifier: Apache-2.0
// The covering set on the emulator: every kernel variant is executed with no GPU.
#include "check/covering_set.hpp"
#include "check/emulator_controls.hpp"
#include "check/run_case.hpp"
#include "core/supported.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sale::check {
namespace {

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

bool is_plain(const Problem &problem) {
  return problem.causal && problem.sliding_window == 0 && problem.softcap == 0.0F && !problem.sink_logits;
}

/// Tests that ctest runs side by side: those of different ones have hardly a kernel in common, and each compiles its
/// kernels once.
struct Shard {
  int head_dim;
  bool plain;
};

class EmulatedShard : public Emulated, public testing::WithParamInterface<Shard> {};

TEST_P(EmulatedShard, AgreesWithTheOracleInAnyOrderOfThreads) {
  const Shard shard = GetParam();
  const std::vector<CheckCase> cases = covering_set();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (cases[i].problem.head_dim != shard.head_dim || is_plain(cases[i].problem) != shard.plain) {
      continue;
    }
    emulator.set_seed(i + 1);
    for (const std::string &problem : run(cases[i]).problems) {
      ADD_FAILURE() << problem << "\nby the emulator's seed " << i + 1 << " in\n" << cases[i].yaml();
    }
  }
}

std::vector<Shard> shards() {
  std::vector<Shard> all;
  for (const int head_dim : supported_head_dims) {
    all.push_back({head_dim, true});
    all.push_back({head_dim, false});
  }
  return all;
}

std::string name_of(const testing::TestParamInfo<Shard> &info) {
  return fmt::format("d{}_{}", info.param.head_dim, info.param.plain ? "plain" : "variants");
}

INSTANTIATE_TEST_SUITE_P(CoveringSet, EmulatedShard, testing::ValuesIn(shards()), name_of);

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
