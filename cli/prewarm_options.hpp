// SPDX-License-Identifier: Apache-2.0
// What `sale prewarm` is asked for on its command line, and the needs that follow.
#pragma once

#include "cli/engine_options.hpp"
#include "cli/policy_options.hpp"
#include "cli/tuning_options.hpp"
#include "core/need.hpp"

#include <CLI/CLI.hpp>

#include <optional>
#include <string>
#include <vector>

namespace sale::cli {

/// A problem in words, for models that have no file.
struct ShapeOptions {
  std::optional<int> heads;
  std::optional<int> kv_heads;
  std::optional<int> head_dim;
  int v_head_dim = 0;
  bool no_causal = false;
  int sliding_window = 0;
  float softcap = 0.0F;
  bool sink_logits = false;

  void add_to(CLI::App &app);
  bool given() const { return heads || kv_heads || head_dim; }
  Problem resolve() const;
};

struct PrewarmOptions {
  std::vector<std::string> archs;
  std::vector<std::string> models;
  bool all_models = false;
  std::string problem;
  ShapeOptions shape;
  std::string dtype;
  std::vector<std::string> serving = {"plain"};
  PolicyOptions policy;
  HeadArrays arrays;
  std::string manifest;       ///< to read
  std::string write_manifest; ///< to write
  bool check = false;
  bool dry_run = false;
  double deadline = 0; ///< seconds for one kernel
  TuningOptions tuning;
  std::string gpu = "any"; ///< of the tuning record
  EngineOptions engine;

  void add_to(CLI::App &app);

  /// Loads the tuning record, so once is enough.
  Options engine_options() const;

  /// Every model in every way of serving, without a look at a manifest. Throws Error(invalid_argument) where the
  /// command line says too little or too much.
  std::vector<NamedNeed> needs() const;
};

} // namespace sale::cli
