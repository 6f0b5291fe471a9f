// SPDX-License-Identifier: Apache-2.0
// One pair of events on the default stream, used again and again.
#pragma once

#include "runtime/device.hpp"

#include <memory>

namespace sale::bench {

class Stopwatch {
public:
  /// The device's context must be current for the object's whole life.
  explicit Stopwatch(std::shared_ptr<const Device> device);
  ~Stopwatch();
  Stopwatch(const Stopwatch &) = delete;
  Stopwatch &operator=(const Stopwatch &) = delete;

  void start();
  /// Milliseconds on the device since start; waits for what was enqueued.
  double stop();

private:
  std::shared_ptr<const Device> device_;
  cu::Event begin_ = nullptr;
  cu::Event end_ = nullptr;
};

} // namespace sale::bench
