// SPDX-License-Identifier: Apache-2.0
// The command that an error advises, read back by the command line's own parser, needs the kernels that were missing.
#include "cli/prewarm_options.hpp"
#include "core/serving_words.hpp"
#include "runtime/prewarm.hpp"
#include "runtime/prewarm_command.hpp"

#include <gtest/gtest.h>

#include <set>

namespace sale::cli {
namespace {

PrewarmOptions parse(const std::string &command) {
  CLI::App app;
  PrewarmOptions options;
  options.add_to(*app.add_subcommand("prewarm"));
  app.parse(command, true);
  return options;
}

std::set<std::string> keys_of(const std::vector<std::string> &archs, const Need &need) {
  std::set<std::string> keys;
  for (const PlannedKernel &kernel : planned_kernels(archs, {need})) {
    keys.insert(kernel.key);
  }
  return keys;
}

void expect_round_trip(const std::vector<std::string> &archs, const Need &need) {
  const std::string command = prewarm_command(archs, need.problem, need.policy, need.serving);
  const PrewarmOptions options = parse(command);
  const std::vector<NamedNeed> parsed = options.needs();
  ASSERT_EQ(parsed.size(), 1U) << command;
  EXPECT_EQ(options.archs, archs) << command;
  EXPECT_EQ(keys_of(options.archs, parsed.front().need), keys_of(archs, need)) << command;
}

std::vector<Problem> problems() {
  return {{},
          {.dtype = DType::f16, .head_dim = 64, .num_q_heads = 9, .num_kv_heads = 3},
          {.head_dim = 96, .num_q_heads = 1, .num_kv_heads = 1, .causal = false},
          {.head_dim = 128, .v_head_dim = 128, .softmax_scale = 0.5F},
          {.head_dim = 192, .v_head_dim = 128, .num_q_heads = 128, .num_kv_heads = 128, .sliding_window = 1024},
          {.dtype = DType::f16, .head_dim = 256, .num_q_heads = 65535, .num_kv_heads = 13107, .softcap = 30.5F},
          {.head_dim = 64, .num_q_heads = 64, .num_kv_heads = 8, .sliding_window = 128, .sink_logits = true}};
}

template <class Change>
Policy changed(Policy policy, const Change &change) {
  change(policy);
  return policy;
}

Policy of_estimator(Estimator estimator, int estimate_dim = 0) {
  Policy policy;
  policy.estimator = estimator;
  policy.estimate_dim = estimate_dim;
  return policy;
}

std::vector<Policy> policies() {
  const Policy exact = changed(of_estimator(Estimator::exact), [](Policy &policy) {
    policy.block_q = 128;
    policy.block_k = 128;
    policy.tau = 0;
  });
  const Policy int4 = changed(of_estimator(Estimator::int4), [](Policy &policy) {
    policy.block_k = 64;
    policy.sink = 0;
    policy.window = 0;
    policy.dense_below = 4096;
  });
  return {{}, exact, int4};
}

/// Those that only sm_90a has.
std::vector<Policy> hopper_policies(const Problem &problem) {
  const auto kv_heads = static_cast<std::size_t>(problem.num_kv_heads);
  const auto width = static_cast<std::size_t>(problem.head_dim);
  const auto q_heads = static_cast<std::size_t>(problem.num_q_heads);
  const auto estimate = [](int channels) { return of_estimator(Estimator::fp8, channels); };
  return {
      estimate(0),
      changed(estimate(32), [&](Policy &policy) { policy.tau_per_head.assign(q_heads, 0.01F); }),
      changed(estimate(32),
              [&](Policy &policy) {
                policy.channels.resize(32 * kv_heads);
                for (std::size_t i = 0; i < policy.channels.size(); ++i) {
                  policy.channels[i] = static_cast<int>(i % 32) + 8;
                }
              }),
      changed(estimate(64), [](Policy &policy) { policy.prune_queries = true; }),
      changed(estimate(32), [&](Policy &policy) { policy.projection.assign(kv_heads * 2 * 32 * width, 0.5F); }),
      changed(estimate(0), [&](Policy &policy) { policy.projection.assign(kv_heads * 2 * width * width, 0.5F); }),
      changed(estimate(64), [](Policy &policy) { policy.fp8_attend = true; }),
      changed(of_estimator(Estimator::exact), [](Policy &policy) { policy.fp8_attend = policy.second_filter = true; }),
      changed(of_estimator(Estimator::int8, 0), [](Policy &policy) { policy.second_filter = true; }),
  };
}

TEST(PrewarmCommand, read_back_needs_the_same_kernels_for_every_problem_and_serving) {
  for (const Problem &problem : problems()) {
    for (const Policy &policy : policies()) {
      expect_round_trip({"sm_80", "sm_90a"}, {problem, policy, {}});
    }
    for (const char *word : {"ragged", "paged:48", "coded:64", "parts", "paged:64+parts", "coded:32+parts"}) {
      expect_round_trip({"sm_89"}, {problem, {}, parse_serving(word)});
      expect_round_trip({"sm_90a"}, {problem, {}, parse_serving(word)});
    }
  }
}

TEST(PrewarmCommand, read_back_needs_the_same_kernels_for_every_policy) {
  const Problem problem = {.num_q_heads = 8, .num_kv_heads = 2};
  for (const Policy &policy : hopper_policies(problem)) {
    expect_round_trip({"sm_90a"}, {problem, policy, {}});
    expect_round_trip({"sm_90a"}, {problem, policy, {.ragged = true}});
  }
}

TEST(PrewarmCommand, tells_policies_of_different_kernels_apart) {
  const Problem problem = {.num_q_heads = 8, .num_kv_heads = 2};
  std::set<std::string> commands;
  std::set<std::set<std::string>> kernels;
  for (const Policy &policy : hopper_policies(problem)) {
    commands.insert(prewarm_command({"sm_90a"}, problem, policy, {}));
    kernels.insert(keys_of({"sm_90a"}, {problem, policy, {}}));
  }
  EXPECT_EQ(commands.size(), kernels.size());
}

TEST(PrewarmCommand, is_one_line_for_a_shell) {
  EXPECT_EQ(prewarm_command({"sm_80", "sm_90a"}, {}, {}, {}),
            "sale prewarm --arch sm_80,sm_90a --heads 32 --kv-heads 8 --head-dim 128 --dtype bf16 --estimator int8 "
            "--block-q 64 --block-k 32 --serving plain");
}

} // namespace
} // namespace sale::cli
