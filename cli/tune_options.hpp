// SPDX-License-Identifier: Apache-2.0
// What `sale tune` is asked for on its command line, and the needs, lengths and density bands that follow.
#pragma once

#include "autotune/search/buckets.hpp"
#include "autotune/search/decide.hpp"
#include "cli/engine_options.hpp"
#include "cli/policy_options.hpp"
#include "cli/prewarm_options.hpp"
#include "core/need.hpp"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace sale::cli {

struct TuneOptions {
  std::vector<std::string> models;
  std::string problem;
  ShapeOptions shape;
  std::string dtype;
  std::vector<std::string> lengths = {"8K", "16K", "32K", "64K", "128K"};
  std::vector<double> densities = {0.05};
  std::vector<std::string> estimators; ///< Empty = the policy's, or int8 and what the architecture has of fp8.
  PolicyOptions policy;
  bool fixed_channels = false;

  autotune::SearchSettings search;
  bool resume = false;
  std::string input;
  std::string device = "0"; ///< As choose_device.
  std::string arch;         ///< Empty = the device's own; of a dry run sm_90a.

  std::string output;                ///< Empty = the user's own record.
  std::string start_from = "layers"; ///< A file, "layers" or "none".
  std::string json;
  std::string propose_policy; ///< Empty = nothing is proposed.
  bool stop_at_end_of_input = false;

  bool show_space = false;
  bool dry_run = false;
  bool no_compile = false;
  std::string gpu; ///< Of a dry run: whose record is written.
  int multiprocessors = 0;

  EngineOptions engine;

  void add_to(CLI::App &app);

  /// The models with every estimate. Throws Error(invalid_argument) where the command line says too little or too much.
  std::vector<NamedNeed> needs(const Arch &arch) const;
  std::vector<int> tokens() const;
  std::vector<autotune::DensityBand> bands() const;
  /// All of them on this architecture.
  std::vector<autotune::TuneBucket> buckets(const Arch &arch) const;
};

} // namespace sale::cli
