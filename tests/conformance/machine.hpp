// SPDX-License-Identifier: Apache-2.0
// What executes cases: a GPU, through NVRTC, or the emulated device, which takes the source itself.
#pragma once

#include "runtime/device.hpp"
#include "runtime/nvrtc.hpp"
#include "tests/conformance/case.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace sale::conformance {

class Machine {
public:
  /// `driver` empty = this machine's own. Throws sale::Error where there is no device or no NVRTC for it.
  explicit Machine(const std::filesystem::path &driver = {});

  /// The output's words. Throws sale::Error with the compiler's or the emulator's report.
  std::vector<u32> run(const Case &test) const;

  /// "NVIDIA H100 80GB HBM3 (sm_90), driver 13.0, NVRTC 13.0".
  std::string describe() const;
  /// Whether it has the instructions of sm_90a, which the cases need.
  bool is_hopper() const { return device_->major() == 9; }
  bool is_emulated() const { return device_->driver().emulated(); }

private:
  std::vector<unsigned char> compile(const Case &test) const;

  std::shared_ptr<const Device> device_;
  std::shared_ptr<const Nvrtc> nvrtc_; ///< Null on the emulated device.
};

} // namespace sale::conformance
