// SPDX-License-Identifier: Apache-2.0
#include "cli/policy_options.hpp"

#include "io/names.hpp"
#include "io/tau_file.hpp"

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
  auto *tau_file_option = app.add_option("--tau-file", tau_file, "YAML of per-head thresholds")->group(group);
  tau_option->excludes(tau_file_option);
  app.add_option("--layer", layer, "Layer of the tau file")->needs(tau_file_option)->group(group);
  app.add_option("--estimator", estimator, "exact, int8 or int4 (default int8)")->group(group);
  app.add_option("--block-q", block_q, "Rows of a mask block: 64 or 128 (default 64)")->group(group);
  app.add_option("--block-k", block_k, "Keys of a mask block: 32, 64 or 128 (default 32)")->group(group);
  app.add_option("--sink", sink, "Keys at the start that are always kept (default 32)")->group(group);
  app.add_option("--window", window, "Keys before a query block that are always kept (default 128)")->group(group);
}

Policy PolicyOptions::resolve(const Problem &problem) const {
  Policy policy;
  if (!tau_file.empty()) {
    policy = io::layer_policy(io::load_tau_file(tau_file), layer, problem);
  }
  override_with(tau, policy.tau);
  if (estimator) {
    policy.estimator = io::parse_estimator(*estimator);
  }
  override_with(block_q, policy.block_q);
  override_with(block_k, policy.block_k);
  override_with(sink, policy.sink);
  override_with(window, policy.window);
  validate(policy, problem);
  return policy;
}

} // namespace sale::cli
