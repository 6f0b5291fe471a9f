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

// What `values`, as many for each KV head, have of these.
template <class T>
std::vector<T> of_kv_heads(const std::vector<T> &values, const std::vector<int> &kv_heads, int num_kv_heads) {
  const auto per_head = static_cast<std::ptrdiff_t>(values.size()) / num_kv_heads;
  std::vector<T> result;
  for (const int head : kv_heads) {
    const auto first = values.begin() + head * per_head;
    result.insert(result.end(), first, first + per_head);
  }
  return result;
}

} // namespace

PolicyJudge::PolicyJudge(const InputSettings &settings, const Problem &problem, int tokens) : problem_(problem) {
  kv_heads_ = {0};
  if (problem.num_kv_heads > 1) {
    kv_heads_.push_back(problem.num_kv_heads - 1);
  }
  data_ = host_data(settings, problem, std::min(tokens, most_tokens));
  // Query heads of a KV head are neighbours, so all three are cut by KV head.
  data_.q = of_kv_heads(data_.q, kv_heads_, problem.num_kv_heads);
  data_.k = of_kv_heads(data_.k, kv_heads_, problem.num_kv_heads);
  data_.v = of_kv_heads(data_.v, kv_heads_, problem.num_kv_heads);
  const int judged = static_cast<int>(kv_heads_.size());
  data_.problem = problem;
  data_.problem.num_kv_heads = judged;
  data_.problem.num_q_heads = problem.num_q_heads / problem.num_kv_heads * judged;
  tensors_ = io::to_tensors(data_);
  dense_ = reference::run_dense(data_.problem, tensors_);
}

Policy PolicyJudge::of_judged_heads(const Policy &policy) const {
  Policy judged = policy;
  judged.tau_per_head = of_kv_heads(policy.tau_per_head, kv_heads_, problem_.num_kv_heads);
  judged.shift_per_head = of_kv_heads(policy.shift_per_head, kv_heads_, problem_.num_kv_heads);
  judged.channels = of_kv_heads(policy.channels, kv_heads_, problem_.num_kv_heads);
  judged.projection = of_kv_heads(policy.projection, kv_heads_, problem_.num_kv_heads);
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
  return quality;
}

} // namespace sale::autotune
