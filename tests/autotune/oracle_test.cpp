// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/oracle.hpp"
#include "generator/generate.hpp"
#include "reference/element.hpp"

#include <gtest/gtest.h>

#include <set>

namespace sale::autotune {
namespace {

Task task_of(Stage stage, bool dense = false) {
  Task task;
  task.tokens = 4;
  task.problem.head_dim = 64;
  for (const KernelSpec &spec : plan_kernels(task.problem, task.policy, parse_arch("sm_80"))) {
    if (spec.stage == stage && spec.dense == dense) {
      task.kernel = spec;
    }
  }
  return task;
}

std::set<check::Mode> modes(const Task &task) {
  std::set<check::Mode> found;
  for (const check::CheckCase &c : oracle_cases(task)) {
    found.insert(c.mode);
  }
  return found;
}

TEST(OracleCases, run_the_stage_that_is_tuned) {
  using check::Mode;
  EXPECT_EQ(modes(task_of(Stage::prepare)), (std::set<Mode>{Mode::sparse}));
  EXPECT_EQ(modes(task_of(Stage::select)), (std::set<Mode>{Mode::sparse}));
  EXPECT_EQ(modes(task_of(Stage::attend)), (std::set<Mode>{Mode::sparse, Mode::given_mask}));
  EXPECT_EQ(modes(task_of(Stage::attend, true)), (std::set<Mode>{Mode::dense}));
}

TEST(OracleCases, are_valid_with_policies_that_say_something_of_each_head) {
  Task task = task_of(Stage::select);
  task.kernel.arch = parse_arch("sm_90a");
  task.policy.estimator = Estimator::fp8;
  task.policy.estimate_dim = 32;
  task.policy.dense_below = 1 << 20;
  task.policy.tau_per_head.assign(32, 0.01F);
  task.policy.shift_per_head.assign(32, 0.1F);
  for (int head = 0; head < 8; ++head) {
    for (int channel = 0; channel < 32; ++channel) {
      task.policy.channels.push_back(channel);
    }
  }
  validate(task.policy, task.problem);
  const auto cases = oracle_cases(task);
  EXPECT_EQ(cases.size(), 3U);
  for (const check::CheckCase &c : cases) {
    EXPECT_NO_THROW(check::validate(c));
    EXPECT_EQ(c.problem.num_q_heads, 4);
    EXPECT_EQ(c.policy.channels.size(), 32U);
    EXPECT_EQ(c.policy.dense_below, 0) << "it must select";
  }
}

TEST(Difference, of_a_mask_is_a_single_bit) {
  const Task task = task_of(Stage::select);
  StageResult expected;
  expected.same = {{1, 2, 3}, {4, 5}};
  StageResult result = expected;
  EXPECT_EQ(difference(result, expected, task, 1), "");
  result.same[0][1] ^= 0x80;
  EXPECT_EQ(difference(result, expected, task, 1), "1 of 3 bytes of the mask are not the default tile's");
  result = expected;
  result.same[1] = {0, 0};
  EXPECT_EQ(difference(result, expected, task, 1), "2 of 2 bytes of the thresholds are not the default tile's");
}

class OutputDifference : public testing::Test {
protected:
  OutputDifference() { expected_.out.assign(std::size_t{2} * 4 * 64, reference::float_to_bf16(0.5F)); }
  std::string with(std::size_t index, float value) const {
    StageResult result = expected_;
    result.out[index] = reference::float_to_bf16(value);
    return difference(result, expected_, task_, 1);
  }

  Task task_ = task_of(Stage::attend);
  StageResult expected_;
};

TEST_F(OutputDifference, is_none_within_roundings) {
  EXPECT_EQ(with(0, 0.5F), "");
  EXPECT_EQ(with(300, 0.5F + 1.0F / 256), "");
}

TEST_F(OutputDifference, is_an_element_that_is_off_in_any_head) {
  const std::string sentence =
      "1 of 256 output elements of a head differ from the default tile's by more than roundings";
  EXPECT_EQ(with(0, 0.52F), sentence);
  EXPECT_EQ(with(511, 0.48F), sentence);
  EXPECT_EQ(with(300, std::numeric_limits<float>::quiet_NaN()), sentence);
}

TEST_F(OutputDifference, is_many_elements_that_are_off_a_little) {
  StageResult result = expected_;
  for (std::size_t i = 256; i < 512; ++i) {
    result.out[i] = reference::float_to_bf16(0.5F + 2.0F / 256);
  }
  EXPECT_NE(difference(result, expected_, task_, 1).find("in the relative L2 norm"), std::string::npos);
}

} // namespace
} // namespace sale::autotune
