// SPDX-License-Identifier: Apache-2.0
#include "runtime/need_words.hpp"

#include <fmt/format.h>

namespace sale {

namespace {

class Words {
public:
  void add(const char *name) { words_.emplace_back(name); }
  template <class T>
  void add(const char *name, const T &value) {
    words_.emplace_back(name);
    words_.push_back(fmt::format("{}", value));
  }
  void add_if(bool wanted, const char *name) {
    if (wanted) {
      add(name);
    }
  }
  std::vector<std::string> take() { return std::move(words_); }

private:
  std::vector<std::string> words_;
};

} // namespace

std::vector<std::string> problem_words(const Problem &problem) {
  Words words;
  words.add("--heads", problem.num_q_heads);
  words.add("--kv-heads", problem.num_kv_heads);
  words.add("--head-dim", problem.head_dim);
  if (effective_v_head_dim(problem) != problem.head_dim) {
    words.add("--v-head-dim", problem.v_head_dim);
  }
  words.add("--dtype", to_string(problem.dtype));
  words.add_if(!problem.causal, "--no-causal");
  if (problem.sliding_window != 0) {
    words.add("--sliding-window", problem.sliding_window);
  }
  if (problem.softcap != 0.0F) {
    words.add("--softcap", problem.softcap);
  }
  words.add_if(problem.sink_logits, "--sink-logits");
  return words.take();
}

std::vector<std::string> policy_words(const Policy &policy) {
  Words words;
  words.add("--estimator", to_string(policy.estimator));
  if (policy.estimate_dim != 0) {
    words.add("--estimate-dim", policy.estimate_dim);
  }
  words.add_if(!policy.channels.empty(), "--fixed-channels");
  words.add_if(!policy.projection.empty(), "--projection");
  words.add_if(policy.prune_queries, "--prune-queries");
  words.add("--block-q", policy.block_q);
  words.add("--block-k", policy.block_k);
  words.add_if(policy.fp8_attend, "--fp8-attend");
  words.add_if(policy.second_filter, "--second-filter");
  return words.take();
}

} // namespace sale
