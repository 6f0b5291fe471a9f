// SPDX-License-Identifier: Apache-2.0
// One task ready to run on a device: its tensors and mask, and a Plan for each tile, in which the tile is in effect.
#pragma once

#include "autotune/measure/bench_memory.hpp"
#include "autotune/measure/inputs.hpp"
#include "autotune/measure/masks.hpp"
#include "autotune/measure/measurer.hpp"
#include "autotune/measure/oracle.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sale::autotune {

/// A record in which a kernel has this tile for every call.
std::shared_ptr<const TuningRecord> record_with(const GpuId &gpu, const KernelSpec &kernel, const Tile &tile);

/// Whether the kernel with this tile is among those of a Plan.
bool has_tile(const std::vector<KernelInfo> &kernels, const KernelSpec &kernel, const Tile &tile);

class TaskBench {
public:
  /// The device's context is current wherever one is used; `options` have its driver. Throws Error(load) that says so
  /// where the device's memory does not suffice.
  TaskBench(std::shared_ptr<const Device> device, Options options, GpuId gpu, const Task &task, Inputs &inputs,
            Masks &masks, BenchMemory &memory);

  /// What tells tasks apart.
  static std::string name_of(const Task &task);
  const std::string &name() const { return name_; }

  /// Compiles or reads the tile's kernel, and loads it; else its first run does.
  void load(const Tile &tile) {
    plan_of(task_.kernel.tile); // it is compared with
    plan_of(tile);
  }

  /// Milliseconds of the task's stage in one call with this tile. `flush` is enqueued before it.
  template <class Flush>
  double time(const Tile &tile, const Flush &flush) {
    const Plan &plan = plan_of(tile);
    flush();
    return stage_ms(plan);
  }

  /// Runs the tile over poisoned memory and compares with the default tile: as difference() says.
  std::string compare(const Tile &tile);
  /// The same where this tile has not been compared yet; else what was found then.
  const std::string &compare_once(const Tile &tile);

private:
  void allocate(Inputs &inputs, Masks &masks);
  const Plan &plan_of(const Tile &tile);
  bool selects() const { return task_.kernel.stage != Stage::attend; }
  double stage_ms(const Plan &plan) const;
  StageResult result_of(const Tile &tile);
  std::vector<std::uint8_t> head_bytes(std::size_t offset, std::size_t bytes, const void *base) const;

  std::shared_ptr<const Device> device_;
  Options options_;
  GpuId gpu_;
  Task task_;
  std::string name_;
  BenchMemory &memory_;
  std::vector<std::pair<Tile, Plan>> plans_;
  std::vector<std::pair<Tile, std::string>> compared_;
  RunArgs args_;
  std::size_t workspace_bytes_ = 0;
  float largest_value_ = 0;
  StageResult expected_; ///< The default tile's, once it has run.
  bool has_expected_ = false;
};

} // namespace sale::autotune
