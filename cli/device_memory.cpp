// SPDX-License-Identifier: Apache-2.0
#include "cli/device_memory.hpp"

#include <fmt/format.h>

#include <utility>

namespace sale::cli {

DeviceContext::DeviceContext(std::shared_ptr<const Driver> driver, int ordinal) : driver_(std::move(driver)) {
  int count = 0;
  driver_->check(driver_->api.device_count(&count), "cuDeviceGetCount");
  if (ordinal >= count) {
    throw Error(ErrorKind::not_found, fmt::format("there is no GPU {}; this machine has {}", ordinal, count));
  }
  driver_->check(driver_->api.device_get(&device_, ordinal), "cuDeviceGet");
  cu::Context context = nullptr;
  driver_->check(driver_->api.primary_retain(&context, device_), "cuDevicePrimaryCtxRetain");
  driver_->check(driver_->api.context_push(context), "cuCtxPushCurrent");
}

DeviceContext::~DeviceContext() {
  cu::Context context = nullptr;
  driver_->api.context_pop(&context);
  driver_->api.primary_release(device_);
}

DeviceBuffer::DeviceBuffer(const DeviceContext &context, std::size_t bytes) : driver_(context.driver()), bytes_(bytes) {
  if (bytes > 0) {
    driver_.check(driver_.api.memory_allocate(&address_, bytes), "cuMemAlloc");
  }
}

DeviceBuffer::~DeviceBuffer() {
  if (address_ != 0) {
    driver_.api.memory_free(address_);
  }
}

void DeviceBuffer::upload(std::span<const std::byte> from) {
  driver_.check(driver_.api.copy_to_device(address_, from.data(), from.size()), "cuMemcpyHtoD");
}

void DeviceBuffer::download(std::span<std::byte> to) const {
  driver_.check(driver_.api.copy_to_host(to.data(), address_, to.size()), "cuMemcpyDtoH");
}

} // namespace sale::cli
