// SPDX-License-Identifier: Apache-2.0
// What a GPU's clocks do while something is measured, and which rounds they disturbed.
#pragma once

#include "runtime/device.hpp"
#include "runtime/shared_library.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sale::autotune {

/// Asks NVIDIA's management library, which the driver brings. Where there is none, or on an emulated device, nothing is
/// known and nothing fails.
class GpuClocks {
public:
  /// Of the device's GPU.
  explicit GpuClocks(const Device &device, const std::filesystem::path &library = "libnvidia-ml.so.1");

  /// Takes a reading; whether heat, the power supply or a brake slows the GPU now. The power limit does not count: a
  /// GPU under load is at it all the time.
  bool is_slowed();

  std::string driver_version() const { return driver_version_; } ///< "580.159.04"; empty = unknown
  double power_limit_watts() const;                              ///< 0 = unknown
  double memory_mhz() const;                                     ///< 0 = unknown
  double median_sm_mhz() const;                                  ///< Of the readings so far; 0 = unknown

private:
  using NvmlDevice = void *;

  template <class Function>
  bool find(Function *&function, const char *name) const {
    function = reinterpret_cast<Function *>(library_.symbol(name));
    return function != nullptr;
  }
  unsigned clock(int kind) const;

  SharedLibrary library_;
  NvmlDevice gpu_ = nullptr; ///< Null: nothing is known.
  int (*clock_info_)(NvmlDevice, int, unsigned *) = nullptr;
  int (*slow_reasons_)(NvmlDevice, unsigned long long *) = nullptr;
  int (*power_limit_)(NvmlDevice, unsigned *) = nullptr;
  std::string driver_version_;
  std::vector<double> sm_mhz_;
};

/// One round: a time of each tile.
using RoundTimes = std::vector<double>;

/// Rounds in which most of the tiles took over a tenth more or less than their own median over the rounds: what all of
/// them feel at once is the GPU's doing. Rounds are of one size.
std::vector<bool> disturbed_rounds(const std::vector<RoundTimes> &rounds);

struct TakenRounds {
  std::vector<RoundTimes> rounds;
  int disturbed = 0; ///< That were measured and something disturbed.
};

/// Measures until so many rounds are undisturbed, at most twice as many; `is_slowed`: whether the GPU says so after a
/// round. Fewer are taken where that does not suffice or `measure` gives none, which ends it; and all, where each is
/// disturbed.
TakenRounds undisturbed_rounds(std::size_t wanted, const std::function<std::optional<RoundTimes>()> &measure,
                               const std::function<bool()> &is_slowed);

} // namespace sale::autotune
