// SPDX-License-Identifier: Apache-2.0
// A Measurer that also says where the time went.
#pragma once

#include "autotune/measure/measurer.hpp"

namespace sale::cli {

class TimedMeasurer : public autotune::Measurer {
public:
  /// `inner` outlives it.
  explicit TimedMeasurer(autotune::Measurer &inner) : inner_(inner) {}

  autotune::GpuId gpu() override { return inner_.gpu(); }
  TuningFacts facts() override { return inner_.facts(); }
  autotune::GpuParameters parameters() override;
  autotune::Rounds measure(const autotune::Task &task, const std::vector<Tile> &tiles, int rounds) override;
  autotune::Measurement check(const autotune::Task &task, const Tile &tile) override;
  autotune::PolicyRounds time_policies(const autotune::PolicyCalls &calls, int rounds) override;

  double measure_seconds() const { return measure_seconds_; } ///< With the micro-benchmarks.
  double check_seconds() const { return check_seconds_; }

private:
  autotune::Measurer &inner_;
  double measure_seconds_ = 0;
  double check_seconds_ = 0;
};

} // namespace sale::cli
