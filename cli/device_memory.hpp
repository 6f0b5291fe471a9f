// SPDX-License-Identifier: Apache-2.0
// Device memory for one run: a current context and typed views of the runtime's arrays.
#pragma once

#include "runtime/device.hpp"
#include "runtime/timeline.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace sale::cli {

/// Makes the context of a device current on this thread while it lives.
class DeviceContext {
public:
  DeviceContext(std::shared_ptr<const Driver> driver, int ordinal)
      : device_(std::make_shared<const Device>(std::move(driver), ordinal)), current_(*device_) {}

  const std::shared_ptr<const Device> &device() const { return device_; }

private:
  std::shared_ptr<const Device> device_;
  CurrentContext current_;
};

class DeviceBuffer {
public:
  DeviceBuffer(const DeviceContext &context, std::size_t bytes) : array_(context.device(), bytes) {}

  template <class T>
  T *as() const {
    return static_cast<T *>(array_.data());
  }
  std::size_t bytes() const { return array_.bytes(); }

  /// `from` is as long as the buffer.
  void upload(std::span<const std::byte> from) { array_.upload(from.data()); }
  void download(void *to) const { array_.download(to); }

private:
  DeviceArray array_;
};

template <class T>
std::vector<T> download(const DeviceBuffer &buffer) {
  std::vector<T> values(buffer.bytes() / sizeof(T));
  buffer.download(values.data());
  return values;
}

/// Milliseconds that the work enqueued by `enqueue` takes on the default stream.
template <class Enqueue>
double time_on_device(const DeviceContext &context, Enqueue enqueue) {
  Timeline timeline(context.device()->driver(), nullptr);
  enqueue();
  timeline.mark(Stage::attend);
  return timeline.times().total;
}

} // namespace sale::cli
