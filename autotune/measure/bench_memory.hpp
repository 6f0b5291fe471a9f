// SPDX-License-Identifier: Apache-2.0
// Device memory that all which is measured shares.
#pragma once

#include "runtime/device.hpp"

#include <cstddef>
#include <memory>

namespace sale::autotune {

/// As large as the largest user wants.
struct BenchMemory {
  DeviceArray out, workspace, mask;
};

/// Replaces an array that is too small. What it held is lost.
inline void at_least(const std::shared_ptr<const Device> &device, std::size_t bytes, DeviceArray &array) {
  if (array.bytes() < bytes) {
    array = DeviceArray();
    array = DeviceArray(device, bytes);
  }
}

} // namespace sale::autotune
