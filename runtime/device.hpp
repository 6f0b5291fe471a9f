// SPDX-License-Identifier: Apache-2.0
// One GPU and the context that work on it runs in: the thread's current context, else the primary one, held as long as
// the object lives.
#pragma once

#include "runtime/capture.hpp"
#include "runtime/driver.hpp"

#include <cstddef>
#include <memory>
#include <string>

namespace sale {

class Device {
public:
  /// `ordinal` -1 = the current context's GPU, else GPU 0. Throws Error(invalid_argument) when it names another GPU
  /// than the current context's.
  Device(std::shared_ptr<const Driver> driver, int ordinal);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const Driver &driver() const { return *driver_; }
  cu::Context context() const { return context_; }
  const std::string &name() const { return name_; }
  int major() const { return major_; }
  int minor() const { return minor_; }
  int multiprocessors() const { return multiprocessors_; }

private:
  std::shared_ptr<const Driver> driver_;
  cu::Device device_ = 0;
  cu::Context context_ = nullptr;
  bool retained_ = false;
  std::string name_;
  int major_ = 0;
  int minor_ = 0;
  int multiprocessors_ = 0;
};

/// The first device of this compute capability; -1 where there is none.
int find_device(const Driver &driver, int major, int minor);

/// Makes a device's context the calling thread's, and puts back what was there. Costs one driver call when it is
/// current already.
class CurrentContext {
public:
  explicit CurrentContext(const Device &device);
  ~CurrentContext();
  CurrentContext(const CurrentContext &) = delete;
  CurrentContext &operator=(const CurrentContext &) = delete;

private:
  const Driver &driver_;
  bool pushed_ = false;
};

/// Calls `release` in the device's context, and nothing when the application has destroyed that context: what was in it
/// is gone too. A capture that runs meanwhile stays valid.
template <class Release>
void release_in_context(const Device &device, const Release &release) {
  const cu::Api &api = device.driver().api;
  if (api.context_push(device.context()) == cu::success) {
    {
      const RelaxedCapture relaxed(device.driver());
      release(api);
    }
    cu::Context popped = nullptr;
    api.context_pop(&popped);
  }
}

/// Device memory. Freed in its context.
class DeviceArray {
public:
  DeviceArray() = default;
  /// Empty when `bytes` is 0.
  DeviceArray(std::shared_ptr<const Device> device, std::size_t bytes);
  ~DeviceArray();
  DeviceArray(DeviceArray &&other) noexcept;
  DeviceArray &operator=(DeviceArray &&other) noexcept;

  /// Null when empty.
  void *data() const { return reinterpret_cast<void *>(address_); }
  std::size_t bytes() const { return bytes_; }

  /// Copy all of it; block.
  void upload(const void *from);
  void download(void *to) const;

private:
  std::shared_ptr<const Device> device_;
  cu::Address address_ = 0;
  std::size_t bytes_ = 0;
};

} // namespace sale
