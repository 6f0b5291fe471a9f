// SPDX-License-Identifier: Apache-2.0
#include "autotune/proposal/judge.hpp"

#include "calibrate/calibrate.hpp"
#include "reference/metrics.hpp"
#include "reference/run.hpp"

#include <algorithm>
#include <cstddef>

namespace sale::autotune {

namespace {

constexpr double hit_mass = 0.99; // sale calibrate's default

// `per_head` values of each of `heads`, one head after another.
template <class T>
std::vector<T> of_heads(const std::vector<T> &values, const std::vector<int> &heads, std::size_t per_head) {
  std::vector<T> result;
  for (const int head : heads) {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(head) * per_head);
    result.insert(result.end(), first, first + static_cast<std::ptrdiff_t>(per_head));
  }
  return result;
}

template <class T>
std::vector<T> split(const std::vector<T> &values, const std::vector<int> &kv_heads, int num_kv_heads) {
  return of_heads(values, kv_heads, values.size() / static_cast<std::size_t>(num_kv_heads));
}

} // namespace

PolicyJudge::PolicyJudge(const InputSettings &settings, const Problem &problem, int tokens) : problem_(problem) {
  static_assert(most_kv_heads == 2);
  kv_heads_ = {0};
  if (problem.num_kv_heads > 1) {
    kv_heads_.push_back(problem.num_kv_heads - 1);
  }
  data_ = host_data(settings, problem, std::min(tokens, most_tokens));
  // Query heads of a KV head are neighbours, so all three are cut by KV head.
  data_.q = split(data_.q, kv_heads_, problem.num_kv_heads);
  data_.k = split(data_.k, kv_heads_, problem.num_kv_heads);
  data_.v = split(data_.v, kv_heads_, problem.num_kv_heads);
  const int judged = static_cast<int>(kv_heads_.size());
  data_.problem = problem;
  data_.problem.num_kv_heads = judged;
  data_.problem.num_q_heads = problem.num_q_heads / problem.num_kv_heads * judged;
  tensors_ = io::to_tensors(data_);
  dense_ = reference::run_dense(data_.problem, tensors_);
}

Policy PolicyJudge::of_judged_heads(const Policy &policy) const {
  Policy judged = policy;
  judged.tau_per_head = split(policy.tau_per_head, kv_heads_, problem_.num_kv_heads);
  judged.shift_per_head = split(policy.shift_per_head, kv_heads_, problem_.num_kv_heads);
  judged.channels = split(policy.channels, kv_heads_, problem_.num_kv_heads);
  judged.projection = split(policy.projection, kv_heads_, problem_.num_kv_heads);
  return judged;
}

PolicyQuality PolicyJudge::judge(Policy &policy) const {
  PolicyQuality quality;
  const bool is_cheap = policy.prune_queries || policy.estimate_dim != 0;
  if (is_cheap && policy.shift_per_head.empty()) {
    CalibrationGoal goal;
    goal.policy = of_judged_heads(policy);
    goal.softmax_scale = effective_softmax_scale(problem_);
    goal.hit_mass = hit_mass;
    for (const HeadCalibration &head : calibrate_layer(goal, {tensors_}).heads) {
      quality.shift = std::max(quality.shift, head.shift.nats);
    }
    policy.shift_per_head.assign(static_cast<std::size_t>(problem_.num_q_heads), quality.shift);
  }
  const Policy judged = of_judged_heads(policy);
  const reference::Result result = reference::run_sale(data_.problem, judged, tensors_);
  // By the exact scores, whatever attend computes with.
  const std::vector<double> kept =
      reference::log_sum_exp(tensors_, effective_softmax_scale(problem_), &result.mask, judged.block_q, judged.block_k);
  quality.recall = reference::recall({kept.begin(), kept.end()}, dense_.lse).mean;
  quality.rel_l1 = reference::rel_l1(result.out, dense_.out);
  quality.density = reference::density(result.mask, judged, data_.problem, data_.shape).total;
  return quality;
}

} // namespace sale::autotune
