// SPDX-License-Identifier: Apache-2.0
// Tuning while a host serves: `sale tune` in a process of its own, never unless one of these is made. In the library
// sale::autotune.
//
//   sale::SwappablePlan plan(0, options, problem, policy);
//   sale::BackgroundTuning tuning(what);                         // needs, budget, where the record goes
//   plan.current().run(args, stream);                            // each run takes the Plan of that moment
//   if (tuning.state() == sale::BackgroundTuning::State::done) { // asked now and then
//     plan.use(tuning.record());
//   }
#pragma once

#include "sale/sale.hpp"
#include "sale/tuning.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace sale {

struct BackgroundTuningOptions {
  std::vector<Need> needs;             ///< One after the other. Plain serving's kernels are what is tuned.
  std::vector<int> lengths;            ///< Powers of two; empty = those of `sale tune`.
  double budget_seconds = 300;         ///< For all needs together; what is not reached keeps its default tile.
  int device = 0;                      ///< As the process of `sale` counts GPUs.
  std::filesystem::path record;        ///< Written by it. Required: with several ranks, one of them writes it.
  std::filesystem::path program;       ///< `sale`; empty = SALE_PROGRAM, else the first on PATH.
  std::vector<std::string> more_words; ///< For `sale tune`, e.g. {"--nvrtc", FOLDER}.
  int niceness = 10;                   ///< Of the process.
};

/// One process after another that measures; the host's own process never runs a candidate, so that none can harm it.
/// Both share the GPU meanwhile. Not for several threads at once.
class SALE_API BackgroundTuning {
public:
  enum class State { running, done, failed, stopped };

  /// Starts. Throws Error(invalid_argument) for options that cannot be, Error(not_found) without `sale`.
  explicit BackgroundTuning(BackgroundTuningOptions options);
  /// Stops.
  ~BackgroundTuning();
  BackgroundTuning(const BackgroundTuning &) = delete;
  BackgroundTuning &operator=(const BackgroundTuning &) = delete;

  /// Looks, and never waits; starts the next need's process where one has ended.
  State state();
  /// Of State::failed: a sentence with the process's last words.
  const std::string &error() const;
  /// What has been measured so far, as load_tuning(options.record); null before anything was.
  std::shared_ptr<const TuningRecord> record() const;
  /// Ends the process, within about two seconds. What it had measured stays in its journal.
  void stop();

private:
  struct Tuning;
  std::unique_ptr<Tuning> tuning_;
};

} // namespace sale
