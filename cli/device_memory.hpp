// SPDX-License-Identifier: Apache-2.0
// Device memory for one run: a current context and buffers that free themselves.
#pragma once

#include "runtime/driver.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace sale::cli {

/// Makes the primary context of a device current on this thread while it lives.
class DeviceContext {
public:
  DeviceContext(std::shared_ptr<const Driver> driver, int ordinal);
  ~DeviceContext();
  DeviceContext(const DeviceContext &) = delete;
  DeviceContext &operator=(const DeviceContext &) = delete;

  const Driver &driver() const { return *driver_; }

private:
  std::shared_ptr<const Driver> driver_;
  cu::Device device_ = 0;
};

class DeviceBuffer {
public:
  DeviceBuffer(const DeviceContext &context, std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(const DeviceBuffer &) = delete;
  DeviceBuffer &operator=(const DeviceBuffer &) = delete;

  template <class T>
  T *as() const {
    return reinterpret_cast<T *>(address_); // driver addresses are integers
  }
  std::size_t bytes() const { return bytes_; }

  void upload(std::span<const std::byte> from);
  void download(std::span<std::byte> to) const;

private:
  const Driver &driver_;
  cu::Address address_ = 0;
  std::size_t bytes_;
};

template <class T>
std::vector<T> download(const DeviceBuffer &buffer) {
  std::vector<T> values(buffer.bytes() / sizeof(T));
  buffer.download(std::as_writable_bytes(std::span(values)));
  return values;
}

/// Milliseconds that the work enqueued by `enqueue` takes on the default stream.
template <class Enqueue>
double time_on_device(const DeviceContext &context, Enqueue enqueue) {
  const Driver &driver = context.driver();
  cu::Event begin = nullptr;
  cu::Event end = nullptr;
  driver.check(driver.api.event_create(&begin, cu::event_default), "cuEventCreate");
  driver.check(driver.api.event_create(&end, cu::event_default), "cuEventCreate");
  driver.check(driver.api.event_record(begin, nullptr), "cuEventRecord");
  enqueue();
  driver.check(driver.api.event_record(end, nullptr), "cuEventRecord");
  driver.check(driver.api.event_synchronize(end), "cuEventSynchronize");
  float milliseconds = 0.0F;
  driver.check(driver.api.event_elapsed(&milliseconds, begin, end), "cuEventElapsedTime");
  driver.api.event_destroy(begin);
  driver.api.event_destroy(end);
  return milliseconds;
}

} // namespace sale::cli
