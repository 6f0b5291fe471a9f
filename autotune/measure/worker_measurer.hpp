// SPDX-License-Identifier: Apache-2.0
// A Measurer whose work a process of its own does: a kernel that hangs, faults or kills its process is noted, and a new
// process goes on with the other tiles.
#pragma once

#include "autotune/measure/measurer.hpp"
#include "autotune/measure/protocol.hpp"
#include "autotune/measure/worker_process.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sale::autotune {

/// Seconds that a step may take; the process that exceeds one is killed.
struct WorkerDeadlines {
  double start = 120;    ///< Until it knows its GPU; and all that is no task's.
  double data = 900;     ///< A task's tensors and masks, of the longest calls.
  double load = 300;     ///< Compile and load one kernel.
  double run = 10;       ///< Run it; or, where that is more,
  double run_ratio = 20; ///< so many times the longest run of this call so far.
  double oracle = 900;   ///< All small shapes of a check.
};

struct WorkerOptions {
  std::filesystem::path program = "/proc/self/exe"; ///< That serves (worker_loop.hpp).
  std::vector<std::string> arguments = {"tune-worker"};
  WorkerDeadlines deadlines;
  std::function<bool()> cancelled; ///< Asked often; true ends a call with Error(cancelled).
};

class WorkerMeasurer : public Measurer {
public:
  explicit WorkerMeasurer(WorkerOptions options);
  ~WorkerMeasurer() override;

  // Each throws Error(launch) with the worker's last words when three workers in a row ended without a tile's doing,
  // and what the worker's own Measurer threw.
  GpuId gpu() override;
  TuningFacts facts() override;
  GpuParameters parameters() override;
  /// Repeated from the start without the tiles whose processes ended. A tile that was not good once is not tried again
  /// for kernels of its class.
  Rounds measure(const Task &task, const std::vector<Tile> &tiles, int rounds) override;
  Measurement check(const Task &task, const Tile &tile) override;
  /// Repeated from the start without the policies whose processes ended.
  PolicyRounds time_policies(const PolicyCalls &calls, int rounds) override;

  /// Workers that were started after the first.
  int restarts() const { return started_ > 1 ? started_ - 1 : 0; }
  /// The process that works now; -1 = none.
  int worker_id() const { return worker_ ? worker_->id() : -1; }

private:
  // How a worker was lost.
  struct Loss {
    Outcome outcome = Outcome::failed;
    std::string why;
    int tile = -1; ///< That it was at; -1 = none.
  };
  struct Result {
    Answer answer;
    std::optional<Loss> loss; ///< Then there is no answer.
  };

  Result ask(const Request &request, std::size_t tiles);
  Result hear_answer(std::size_t tiles, double first_deadline);
  // Of requests without tiles: asks until a worker answers.
  template <class T>
  T ask_for(const Request &request);
  template <class T>
  T take(Answer &answer);
  // Loses patience with workers that are lost without a tile's doing.
  void note_loss(const Loss &loss);
  void note_bad(const Task &task, const Tile &tile, const Measurement &measurement);
  const Measurement *known_bad(const Task &task, const Tile &tile) const;

  WorkerOptions options_;
  std::unique_ptr<WorkerProcess> worker_;
  int started_ = 0;
  int lost_in_a_row_ = 0;
  std::map<std::string, std::vector<std::pair<Tile, Measurement>>> bad_; ///< By the kernel's class.
};

} // namespace sale::autotune
