// SPDX-License-Identifier: Apache-2.0
// From buckets to a tuning record: one decision after another, within a budget, kept in a journal.
#pragma once

#include "autotune/search/buckets.hpp"
#include "autotune/search/decide.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sale::autotune {

/// All possible candidates of a task: the default first, then in a fixed order; each with what the cost model says.
using CandidatesOf = std::function<std::vector<Candidate>(const Task &)>;

struct TuneRequest {
  std::vector<TuneBucket> buckets;
  SearchSettings settings;
  CandidatesOf candidates_of;
  std::vector<TuningRecord> earlier; ///< Their tiles are tried first, whatever library measured them.
  std::filesystem::path journal;     ///< Empty = none.
  bool resume = false;
};

/// Where a run stands.
struct TuneProgress {
  std::size_t bucket = 0; ///< Of `buckets`, from 0.
  std::size_t buckets = 0;
  std::string task;
  std::string step;
  double best_ratio = 1;             ///< Best candidate / default so far, of this bucket.
  double seconds_left = -1;          ///< Below 0 = not known yet.
  const Decision *decided = nullptr; ///< Set when the bucket is done.
  bool from_journal = false;
};

struct TuneResult {
  GpuTuning gpu;                   ///< For a TuningRecord.
  std::vector<Decision> decisions; ///< In the order of the buckets; the first of them where not complete.
  bool complete = true;
  std::string stopped; ///< Why not.
  double seconds = 0;
};

/// Ends early, and well, when the budget is spent or `cancelled` says so. Throws what the measurer throws; the journal
/// then has what was decided.
TuneResult tune(const TuneRequest &request, Measurer &measurer,
                const std::function<void(const TuneProgress &)> &told = {},
                const std::function<bool()> &cancelled = {});

/// What a journal is of: another line, and its decisions are not to be used.
std::string asked_line(const TuneRequest &request, const GpuId &gpu);

/// The default, tiles of `wanted`, and of the others those that the model likes best: `settings.candidates` of them. In
/// the order of `all`.
std::vector<Candidate> pick_candidates(const std::vector<Candidate> &all, const std::vector<Tile> &wanted,
                                       int how_many);

} // namespace sale::autotune
