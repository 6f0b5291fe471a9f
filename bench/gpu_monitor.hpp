// SPDX-License-Identifier: Apache-2.0
// Clocks, power and temperature of a GPU while something is measured, as nvidia-smi says them.
#pragma once

#include "runtime/device.hpp"

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace sale::bench {

struct GpuReading {
  double sm_mhz = 0;
  double memory_mhz = 0;
  double watts = 0;
  double celsius = 0;
};

struct GpuLog {
  std::string driver;               ///< NVIDIA's version of the driver, "580.159.04".
  std::vector<GpuReading> readings; ///< A few per second; empty where there is no nvidia-smi.
};

/// A line "580.159.04, 1980, 2619, 690.21, 61"; nothing when it is none.
std::optional<GpuReading> parse_reading(const std::string &line, std::string &driver);

/// Runs nvidia-smi beside the measurement from construction to stop(). The first reading is taken before the
/// constructor returns. Never fails: without nvidia-smi, or on an emulated device, the log is empty.
class GpuMonitor {
public:
  /// Of the current context's GPU.
  explicit GpuMonitor(const Driver &driver);
  ~GpuMonitor();
  GpuMonitor(const GpuMonitor &) = delete;
  GpuMonitor &operator=(const GpuMonitor &) = delete;

  GpuLog stop();

private:
  void start(const std::string &bus_id);
  bool read_line();

  pid_t process_ = -1;
  int pipe_ = -1;
  std::string pending_;
  GpuLog log_;
};

} // namespace sale::bench
