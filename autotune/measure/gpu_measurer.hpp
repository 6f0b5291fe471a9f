// SPDX-License-Identifier: Apache-2.0
// The Measurer that runs kernels on a device, in the process that calls it. A kernel that hangs is not ended here, and
// one that faults takes the context with it: that is what a process of its own is for.
#pragma once

#include "autotune/measure/clocks.hpp"
#include "autotune/measure/inputs.hpp"
#include "autotune/measure/masks.hpp"
#include "autotune/measure/measurer.hpp"
#include "autotune/measure/task_bench.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace sale::autotune {

struct MeasureSettings {
  InputSettings input;
  std::optional<std::size_t> flush_bytes; ///< Written before each sample; by default twice the L2 cache.
  double warmup_seconds = 0.1;            ///< Of work before the first round, where the GPU was idle.
};

class GpuMeasurer : public Measurer {
public:
  /// `device` as Engine's, by the driver that the options name. Kernels come from the options' cache, or are compiled
  /// as the options say.
  GpuMeasurer(int device, Options options, MeasureSettings settings = {});
  ~GpuMeasurer() override;

  GpuId gpu() override { return gpu_; }
  TuningFacts facts() override;
  GpuParameters parameters() override;
  /// A tile whose kernel faults is failed, and then no more rounds are measured. Throws Error where the task's own
  /// tensors do not fit the device, or do not suit it: then none of its tiles can be measured.
  Rounds measure(const Task &task, const std::vector<Tile> &tiles, int rounds) override;
  Measurement check(const Task &task, const Tile &tile) override;
  /// Throws as measure().
  PolicyRounds time_policies(const PolicyCalls &calls, int rounds) override;

  /// Whether a kernel has faulted, so that the driver refuses everything that follows: the process is to be replaced.
  /// Other calls but gpu() and facts() then throw Error(launch).
  bool poisoned() const { return poisoned_; }

private:
  void require_alive() const;
  TaskBench &bench_of(const Task &task);
  // What a tile's call came to; `work` throws where it fails, and gives a sentence where it is wrong.
  Measurement outcome_of(const std::function<std::string()> &work);
  void note_failure(const Error &error, Measurement &measurement);
  void note_poison();
  Measurement against_oracle(const Task &task, const Tile &tile);
  // Says so, and that it runs next.
  void load(TaskBench &bench, const std::vector<Tile> &tiles, std::size_t tile);
  void flush();
  // What takes turns, by number.
  struct Turns {
    std::size_t count = 0;
    std::function<std::string(std::size_t)> first; ///< Loads and runs it; as outcome_of's work.
    std::function<double(std::size_t)> time;       ///< Milliseconds.
  };
  Rounds take(const Turns &turns, int rounds);
  void warm_up(const Turns &turns, std::vector<Measurement> &of);
  bool take_round(const Turns &turns, unsigned round, std::vector<Measurement> &of, RoundTimes &times);
  // `make`, if need be once more with all memory given back.
  void with_memory(const std::function<void()> &make);

  Options options_;
  MeasureSettings settings_;
  std::shared_ptr<const Driver> driver_;
  std::shared_ptr<const Device> device_;
  GpuId gpu_;
  std::size_t l2_bytes_;
  GpuClocks clocks_;
  DeviceArray flushed_;
  unsigned flush_value_ = 0;
  Inputs inputs_;
  Masks masks_;
  BenchMemory memory_;
  std::unique_ptr<TaskBench> bench_;    ///< Of the latest task.
  std::set<std::string> oracle_agrees_; ///< With these kernels; of which length does not matter to it.
  std::chrono::steady_clock::time_point busy_until_;
  bool poisoned_ = false;
  std::string no_parameters_; ///< Why the micro-benchmarks failed.
};

} // namespace sale::autotune
