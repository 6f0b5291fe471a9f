// SPDX-License-Identifier: Apache-2.0
// A tile that misbehaves when it is asked to: SALE_TUNE_FAULT shows on a real GPU that tuning goes on without it.
#pragma once

#include "autotune/measure/measurer.hpp"
#include "sale/sale.hpp"

#include <string>

namespace sale::autotune {

struct Fault {
  enum class Kind {
    hang,   ///< A kernel that never ends runs before the tile's.
    poison, ///< A kernel that writes where no memory is.
    crash,  ///< The worker aborts.
    wrong   ///< The tile's result is said to be wrong.
  };
  Kind kind = Kind::hang;
  Tile tile;
};

/// "hang:16x8/128/3/1": what happens, and the tile as rows per warp x warps / keys / stages / CTAs. Throws
/// Error(invalid_argument).
Fault parse_fault(const std::string &text);

/// `measurer`, with which the fault comes.
class FaultInjection : public Measurer {
public:
  /// `options` say where driver and NVRTC are.
  FaultInjection(Measurer &measurer, const Fault &fault, Options options);

  GpuId gpu() override { return measurer_.gpu(); }
  TuningFacts facts() override { return measurer_.facts(); }
  GpuParameters parameters() override { return measurer_.parameters(); }
  Rounds measure(const Task &task, const std::vector<Tile> &tiles, int rounds) override;
  Measurement check(const Task &task, const Tile &tile) override;
  PolicyRounds time_policies(const PolicyCalls &calls, int rounds) override {
    return measurer_.time_policies(calls, rounds);
  }

private:
  class Listening;

  void come();
  void run_kernel(const char *name);
  void note_wrong(const Tile &tile, Measurement &measurement) const;

  Measurer &measurer_;
  Fault fault_;
  Options options_;
};

} // namespace sale::autotune
