// SPDX-License-Identifier: Apache-2.0
#include "cli/policy_options.hpp"

#include "io/names.hpp"
#include "io/policy_file.hpp"

namespace sale::cli {

namespace {

template <class T>
void override_with(const std::optional<T> &given, T &value) {
  value = given.value_or(value);
}

} // namespace

void PolicyOptions::add_to(CLI::App &app) {
  const std::string group = "Policy (decides results)";
  auto *tau_option =
      app.add_option("--tau", tau, "Relative-score threshold of every head; 0 is dense (default 0.004)")->group(group);
  auto *file_option =
      app.add_option("--policy-file,--tau-file", file, "YAML of a whole policy, as `sale calibrate` writes it")
          ->group(group);
  tau_option->excludes(file_option);
  app.add_option("--layer", layer, "Layer of the policy file")->needs(file_option)->group(group);
  app.add_option("--estimator", estimator, "exact, int8, int4 or fp8 (default int8)")->group(group);
  app.add_option("--estimate-dim", estimate_dim,
                 "fp8: estimate with this many channels, a multiple of 32 (default all)")
      ->group(group);
  app.add_flag("--prune-queries", prune_queries, "fp8: estimate with 2 of every 4 channels of a query")->group(group);
  app.add_option("--block-q", block_q, "Rows of a mask block: 64 or 128 (default 64)")->group(group);
  app.add_option("--block-k", block_k, "Keys of a mask block: 32, 64 or 128 (default 32)")->group(group);
  app.add_option("--sink", sink, "Keys at the start that are always kept (default 32)")->group(group);
  app.add_option("--window", window, "Keys before a query block that are always kept (default 128)")->group(group);
  app.add_flag("--fp8-attend", fp8_attend, "Multiply Q, K and V as fp8 (sm_90a)")->group(group);
  app.add_flag("--second-filter", second_filter,
               "Skip kept blocks of 32 keys in which no exact score exceeds its threshold (sm_90a)")
      ->group(group);
  app.add_option("--dense-below", dense_below, "Fewer keys than this are attended densely (default 0)")->group(group);
}

bool PolicyOptions::changes_estimate(const Policy &policy) const {
  return (estimator && io::parse_estimator(*estimator) != policy.estimator) ||
         (estimate_dim && *estimate_dim != policy.estimate_dim) || (prune_queries && !policy.prune_queries);
}

Policy PolicyOptions::resolve(const Problem &problem) const {
  Policy policy;
  if (!file.empty()) {
    policy = io::layer_policy(io::load_policy_file(file), layer, problem);
  }
  override_with(tau, policy.tau);
  if (changes_estimate(policy)) {
    // Shifts, channels and projections were calibrated for the file's estimate.
    policy.shift_per_head.clear();
    policy.channels.clear();
    policy.projection.clear();
    policy.estimator = estimator ? io::parse_estimator(*estimator) : policy.estimator;
    policy.estimate_dim = estimate_dim.value_or(policy.estimator == Estimator::fp8 ? policy.estimate_dim : 0);
    if (policy.estimator == Estimator::exact) {
      policy.kbar.clear(); // it has no codes
    }
    policy.prune_queries = prune_queries || (policy.estimator == Estimator::fp8 && policy.prune_queries);
  }
  override_with(block_q, policy.block_q);
  override_with(block_k, policy.block_k);
  override_with(sink, policy.sink);
  override_with(window, policy.window);
  policy.fp8_attend |= fp8_attend;
  policy.second_filter |= second_filter;
  override_with(dense_below, policy.dense_below);
  validate(policy, problem);
  return policy;
}

} // namespace sale::cli
