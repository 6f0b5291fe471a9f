// SPDX-License-Identifier: Apache-2.0
// Device memory through the CUDA driver, opened at run time, so that the examples build without a CUDA toolkit.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace example {

/// One GPU, whose primary context is current from then on. Every failure throws std::runtime_error.
class Device {
public:
  /// `driver`: libcuda.so.1, or libsale_emulator.so where there is no GPU.
  explicit Device(const std::string &driver);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  struct Api;
  const Api &api() const { return *api_; }

private:
  std::unique_ptr<Api> api_;
};

/// Device memory.
class Buffer {
public:
  Buffer(const Device &device, std::size_t bytes);
  ~Buffer();
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;

  template <class T>
  T *as() const {
    return static_cast<T *>(data_);
  }
  /// Wait for the device.
  void upload(const void *from);
  void download(void *to) const;

private:
  const Device::Api &api_;
  void *data_ = nullptr;
  std::size_t bytes_;
};

template <class T>
std::vector<T> download(const Buffer &buffer, std::size_t count) {
  std::vector<T> values(count);
  buffer.download(values.data());
  return values;
}

} // namespace example
