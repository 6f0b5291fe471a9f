// SPDX-License-Identifier: Apache-2.0
#include "runtime/device.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace sale {

namespace {

cu::Device device_of_ordinal(const Driver &driver, int ordinal) {
  int count = 0;
  driver.check(driver.api.device_count(&count), "cuDeviceGetCount", ErrorKind::not_found);
  if (ordinal < 0 || ordinal >= count) {
    throw Error(ErrorKind::not_found,
                fmt::format("there is no GPU {}; this machine has {} (numbered from 0)", ordinal, count),
                {.where = "cuDeviceGetCount"});
  }
  cu::Device device = 0;
  driver.check(driver.api.device_get(&device, ordinal), "cuDeviceGet", ErrorKind::not_found);
  return device;
}

} // namespace

Device::Device(std::shared_ptr<const Driver> driver, int ordinal) : driver_(std::move(driver)) {
  const cu::Api &api = driver_->api;
  driver_->check(api.context_current(&context_), "cuCtxGetCurrent", ErrorKind::not_found);
  if (context_ == nullptr || ordinal != -1) {
    device_ = device_of_ordinal(*driver_, ordinal == -1 ? 0 : ordinal);
  }
  if (context_ != nullptr) {
    cu::Device current = 0;
    driver_->check(api.context_device(&current), "cuCtxGetDevice", ErrorKind::not_found);
    if (ordinal != -1 && current != device_) {
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("GPU {} is asked for, but the context current on this thread is of another GPU", ordinal),
                  {.where = "cuCtxGetDevice",
                   .advice = "make a context of that GPU current, or none, or ask for GPU -1 to use the current one"});
    }
    device_ = current;
  }
  std::array<char, 256> name{};
  driver_->check(api.device_name(name.data(), static_cast<int>(name.size()) - 1, device_), "cuDeviceGetName",
                 ErrorKind::not_found);
  name_ = name.data();
  driver_->check(api.device_attribute(&major_, cu::compute_capability_major, device_), "cuDeviceGetAttribute",
                 ErrorKind::not_found);
  driver_->check(api.device_attribute(&minor_, cu::compute_capability_minor, device_), "cuDeviceGetAttribute",
                 ErrorKind::not_found);
  driver_->check(api.device_attribute(&multiprocessors_, cu::multiprocessor_count, device_), "cuDeviceGetAttribute",
                 ErrorKind::not_found);
  if (context_ == nullptr) {
    driver_->check(api.primary_retain(&context_, device_), "cuDevicePrimaryCtxRetain", ErrorKind::not_found);
    retained_ = true;
  }
}

Device::~Device() {
  if (retained_) {
    driver_->api.primary_release(device_);
  }
}

int find_device(const Driver &driver, int major, int minor) {
  int count = 0;
  driver.check(driver.api.device_count(&count), "cuDeviceGetCount", ErrorKind::not_found);
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    const cu::Device device = device_of_ordinal(driver, ordinal);
    int its_major = 0;
    int its_minor = 0;
    driver.check(driver.api.device_attribute(&its_major, cu::compute_capability_major, device), "cuDeviceGetAttribute");
    driver.check(driver.api.device_attribute(&its_minor, cu::compute_capability_minor, device), "cuDeviceGetAttribute");
    if (its_major == major && its_minor == minor) {
      return ordinal;
    }
  }
  return -1;
}

CurrentContext::CurrentContext(const Device &device) : driver_(device.driver()) {
  cu::Context current = nullptr;
  driver_.check(driver_.api.context_current(&current), "cuCtxGetCurrent");
  if (current != device.context()) {
    driver_.check(driver_.api.context_push(device.context()), "cuCtxPushCurrent");
    pushed_ = true;
  }
}

CurrentContext::~CurrentContext() {
  if (pushed_) {
    cu::Context popped = nullptr;
    driver_.api.context_pop(&popped);
  }
}

DeviceArray::DeviceArray(std::shared_ptr<const Device> device, std::size_t bytes)
    : device_(std::move(device)), bytes_(bytes) {
  if (bytes_ > 0) {
    const CurrentContext scope(*device_);
    device_->driver().check(device_->driver().api.memory_allocate(&address_, bytes_), "cuMemAlloc", ErrorKind::load);
  }
}

void DeviceArray::upload(const void *from) {
  if (bytes_ > 0) {
    const CurrentContext scope(*device_);
    device_->driver().check(device_->driver().api.copy_to_device(address_, from, bytes_), "cuMemcpyHtoD",
                            ErrorKind::load);
  }
}

void DeviceArray::download(void *to) const {
  if (bytes_ > 0) {
    const CurrentContext scope(*device_);
    device_->driver().check(device_->driver().api.copy_to_host(to, address_, bytes_), "cuMemcpyDtoH");
  }
}

DeviceArray::~DeviceArray() {
  if (address_ != 0) {
    release_in_context(*device_, [this](const cu::Api &api) { api.memory_free(address_); });
  }
}

DeviceArray::DeviceArray(DeviceArray &&other) noexcept
    : device_(std::move(other.device_)), address_(std::exchange(other.address_, 0)),
      bytes_(std::exchange(other.bytes_, 0)) {}

DeviceArray &DeviceArray::operator=(DeviceArray &&other) noexcept {
  std::swap(device_, other.device_);
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

} // namespace sale
