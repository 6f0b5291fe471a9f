// SPDX-License-Identifier: Apache-2.0
// Which tile a task gets: candidates are halved, and what is left must beat the default beyond noise, twice.
#pragma once

#include "autotune/measure/measurer.hpp"
#include "autotune/space/candidate.hpp"

#include <functional>
#include <string>
#include <vector>

namespace sale::autotune {

struct SearchSettings {
  int candidates = 10;    ///< Measured of a task, beside the default and tiles from elsewhere.
  int halving_rounds = 5; ///< At least, before half of the candidates go.
  int block_rounds = 11;  ///< At least, of each of the two blocks that decide.
  int most_rounds = 60;   ///< Of either: short kernels get as many as `task_seconds` allow.
  double task_seconds =
      1.5;           ///< That the rounds of halving, and of each block, may fill where they are more than least.
  int finalists = 3; ///< Candidates that halving leaves, beside the default.
  double band_floor = 0.0025; ///< Noise band at least.
  double budget_seconds = 0;  ///< Of all tasks; 0 = no limit.
};

/// What became of one candidate.
struct CandidateResult {
  Tile tile;
  double model_ms = 0;
  double first_ms = 0; ///< Median of the first rounds, in which all were measured; 0 = it was never measured.
  double ratio = 0;    ///< To the default, over all its rounds; 0 = it was never measured.
  int rounds = 0;
  Outcome outcome = Outcome::good;
  std::string why; ///< Unless good.
};

struct Decision {
  Task task;
  Tile tile;                               ///< The winner.
  bool is_default = true;                  ///< Nothing was faster beyond noise.
  double default_ms = 0;                   ///< Medians of the deciding rounds.
  double best_ms = 0;                      ///< Of the winner.
  double ratio = 1;                        ///< Winner / default, round by round; 1 for the default.
  double band = 0;                         ///< Noise band of the ratio.
  int rounds = 0;                          ///< That decided.
  int disturbed = 0;                       ///< Rounds that were measured again.
  double seconds = 0;                      ///< It took.
  std::string left_out;                    ///< Why nothing was measured, if so: the default tile serves.
  std::vector<CandidateResult> candidates; ///< The default first.
};

/// Told of each step: what is being done, and the best ratio to the default so far.
using StepTold = std::function<void(const std::string &step, double best_ratio)>;

/// `candidates`: the default first, then in a fixed order, in which the first of equals wins. Throws what the measurer
/// throws, Error(load) where the default cannot be measured, and Error(cancelled) when `cancelled` says so between two
/// steps.
Decision decide(const Task &task, const std::vector<Candidate> &candidates, Measurer &measurer,
                const SearchSettings &settings, const StepTold &told = {}, const std::function<bool()> &cancelled = {});

} // namespace sale::autotune
