// SPDX-License-Identifier: Apache-2.0
#include "runtime/prewarm_command.hpp"

#include "core/serving_words.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace sale {

namespace {

std::string problem_words(const Problem &problem) {
  std::string words = fmt::format(" --heads {} --kv-heads {} --head-dim {}", problem.num_q_heads, problem.num_kv_heads,
                                  problem.head_dim);
  if (effective_v_head_dim(problem) != problem.head_dim) {
    words += fmt::format(" --v-head-dim {}", problem.v_head_dim);
  }
  words += fmt::format(" --dtype {}", to_string(problem.dtype));
  words += problem.causal ? "" : " --no-causal";
  if (problem.sliding_window != 0) {
    words += fmt::format(" --sliding-window {}", problem.sliding_window);
  }
  if (problem.softcap != 0.0F) {
    words += fmt::format(" --softcap {}", problem.softcap);
  }
  return words + (problem.sink_logits ? " --sink-logits" : "");
}

std::string policy_words(const Policy &policy) {
  std::string words = fmt::format(" --estimator {}", to_string(policy.estimator));
  if (policy.estimate_dim != 0) {
    words += fmt::format(" --estimate-dim {}", policy.estimate_dim);
  }
  words += policy.channels.empty() ? "" : " --fixed-channels";
  words += policy.projection.empty() ? "" : " --projection";
  words += policy.prune_queries ? " --prune-queries" : "";
  words += fmt::format(" --block-q {} --block-k {}", policy.block_q, policy.block_k);
  words += policy.fp8_attend ? " --fp8-attend" : "";
  return words + (policy.second_filter ? " --second-filter" : "");
}

} // namespace

std::string prewarm_command(const std::vector<std::string> &archs, const Problem &problem, const Policy &policy,
                            const Serving &serving) {
  return fmt::format("sale prewarm --arch {}{}{} --serving {}", fmt::join(archs, ","), problem_words(problem),
                     policy_words(policy), serving_word(serving));
}

} // namespace sale
