// SPDX-License-Identifier: Apache-2.0
// Measurer: whoever can run a task's kernel with a tile. Calls may take long; none of them throws for a tile's sake.
#pragma once

#include "autotune/measure/task.hpp"
#include "autotune/model/gpu_parameters.hpp"
#include "generator/tuning.hpp"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sale::autotune {

enum class Outcome {
  good,   ///< Measured; or right.
  wrong,  ///< It disagrees with the oracle or with the default tile.
  failed, ///< It did not compile, load or launch, or the driver reported a fault.
  hung    ///< It did not end in time; its process is gone.
};

const char *to_string(Outcome outcome);

/// One tile's times.
struct Measurement {
  Outcome outcome = Outcome::good;
  std::string why; ///< Unless good: a sentence.
  std::vector<double>
      ms; ///< One per round; all tiles of a call to measure() share round i. A disturbed round is absent from all.
};

/// The rounds of one call.
struct Rounds {
  std::vector<Measurement> of; ///< In the order of the tiles.
  int disturbed = 0;           ///< Rounds that were measured again because the clocks fell.
};

/// Whole calls that take turns: one problem and length, several policies.
struct PolicyCalls {
  Problem problem;
  std::vector<Policy> policies; ///< One with a dense_below above `tokens` is the dense call.
  int tokens = 0;               ///< q_len = kv_len, batch 1.
};

struct PolicyRounds {
  Rounds rounds;               ///< In the order of the policies.
  std::vector<double> density; ///< Kept share of the visible blocks; 1 of dense calls, 0 where it is not known.
};

struct GpuId {
  std::string name;
  Arch arch;
  int multiprocessors = 0;
};

/// What a Measurer is about to do.
enum class Work {
  data,  ///< The task's tensors and masks.
  load,  ///< Compile or read a tile's kernel, load it.
  run,   ///< Run it, once or a few times.
  oracle ///< Run it on small shapes, and the CPU oracle.
};

struct Step {
  Work work = Work::data;
  int tile = -1; ///< Which of the call's; -1 = none of them.
};

class Measurer {
public:
  Measurer() = default;
  Measurer(const Measurer &) = delete;
  Measurer &operator=(const Measurer &) = delete;
  virtual ~Measurer() = default;

  virtual GpuId gpu() = 0;
  /// Clocks, driver, NVRTC: kept with the record.
  virtual TuningFacts facts() = 0;
  /// From two micro-benchmarks.
  virtual GpuParameters parameters() = 0;
  /// Each tile once a round, in turns, from a cold L2 cache, after a warm-up. At most one sample of each tile a round.
  virtual Rounds measure(const Task &task, const std::vector<Tile> &tiles, int rounds) = 0;
  /// Against the CPU oracle on small shapes, and against the default tile on the task's own.
  virtual Measurement check(const Task &task, const Tile &tile) = 0;
  /// As measure(), of whole calls. A Step's tile is then the number of a policy.
  virtual PolicyRounds time_policies(const PolicyCalls &calls, int rounds) = 0;

  /// `told` hears of each step before it begins: whoever waits then knows which tile it was that did not end.
  void listen(std::function<void(const Step &)> told) { told_ = std::move(told); }

protected:
  void begin(const Step &step) const {
    if (told_) {
      told_(step);
    }
  }

private:
  std::function<void(const Step &)> told_;
};

} // namespace sale::autotune
