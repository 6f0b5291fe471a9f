// SPDX-License-Identifier: Apache-2.0
// Measurer: whoever can run a task's kernel with a tile. Calls may take long; none of them throws for a tile's sake.
#pragma once

#include "autotune/measure/task.hpp"
#include "autotune/model/gpu_parameters.hpp"
#include "generator/tuning.hpp"

#include <string>
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

struct GpuId {
  std::string name;
  Arch arch;
  int multiprocessors = 0;
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
};

} // namespace sale::autotune
