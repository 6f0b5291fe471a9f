// SPDX-License-Identifier: Apache-2.0
// The Policy options that run, prewarm and calibrate share: a policy file's, then what the command line says.
#pragma once

#include "sale/types.hpp"

#include <CLI/CLI.hpp>

#include <optional>
#include <string>

namespace sale::cli {

struct PolicyOptions {
  std::optional<float> tau;
  std::string file;
  std::optional<int> layer;
  std::optional<std::string> estimator;
  std::optional<int> estimate_dim;
  bool prune_queries = false;
  std::optional<int> block_q;
  std::optional<int> block_k;
  std::optional<int> sink;
  std::optional<int> window;
  bool fp8_attend = false;
  bool second_filter = false;
  std::optional<int> dense_below;

  void add_to(CLI::App &app);

  /// Validated against the problem.
  Policy resolve(const Problem &problem) const;

private:
  bool changes_estimate(const Policy &policy) const;
};

} // namespace sale::cli
