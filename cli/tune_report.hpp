// SPDX-License-Identifier: Apache-2.0
// What `sale tune` found: tables for people, JSON for programs.
#pragma once

#include "autotune/search/tuner.hpp"
#include "cli/tune_shortlists.hpp"

#include <string>
#include <vector>

namespace sale::cli {

/// How good the cost model is at what was measured.
struct ModelQuality {
  std::vector<double> correlations; ///< Spearman's, of each bucket with three or more measured tiles; ascending.
  std::vector<double> losses;       ///< Time of the tile that the model likes best / time of the choice; ascending.
};

ModelQuality model_quality(const std::vector<autotune::Decision> &decisions);

/// The first tiles by the model, of one task.
struct ModelRanking {
  autotune::Task task;
  std::vector<autotune::Candidate> candidates; ///< With model_ms: the default first, then in a fixed order.

  /// Whose model_ms is the least; the first of equals.
  const autotune::Candidate &best() const;
};

struct TuneReport {
  bool dry_run = false;
  autotune::GpuId gpu;
  TuningFacts facts;
  autotune::GpuParameters parameters;
  const TuneShortlists *shortlists = nullptr;
  std::string not_compiled; ///< Why, where tiles were not compiled.

  std::vector<autotune::Decision> decisions;
  std::vector<ModelRanking> rankings; ///< Of a dry run.

  double wall_seconds = 0;
  double measure_seconds = 0; ///< Inputs, masks and times.
  double check_seconds = 0;
  int restarts = 0;    ///< Of the worker.
  std::string stopped; ///< Why some buckets are missing, if so.
  std::string record;  ///< The file it went to; empty = none.
};

std::string tune_report_text(const TuneReport &report);
std::string tune_report_json(const TuneReport &report);

} // namespace sale::cli
