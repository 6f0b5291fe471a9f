// SPDX-License-Identifier: Apache-2.0
#include "check/guarded_memory.hpp"

#include <algorithm>
#include <utility>

namespace sale::check {

namespace {

// 0xffff is a NaN in bf16 and in f16, 0xffffffff in fp32.
constexpr std::uint8_t poison_byte = 0xff;

} // namespace

GuardedMemory::GuardedMemory(std::shared_ptr<const Device> device, std::size_t bytes)
    : device_(std::move(device)), guard_bytes_(device_->driver().emulated() ? 0 : 4096), bytes_(bytes) {
  const Driver &driver = device_->driver();
  driver.check(driver.api.memory_allocate(&base_, words() * 4), "cuMemAlloc");
  poison();
}

GuardedMemory::~GuardedMemory() { device_->driver().api.memory_free(base_); }

std::size_t GuardedMemory::words() const { return std::max<std::size_t>(1, (bytes_ + 2 * guard_bytes_ + 3) / 4); }

void GuardedMemory::poison() const {
  const Driver &driver = device_->driver();
  driver.check(driver.api.fill_words(base_, ~0U, words(), nullptr), "cuMemsetD32Async");
  driver.check(driver.api.stream_synchronize(nullptr), "cuStreamSynchronize");
}

void GuardedMemory::write(const void *from, std::size_t bytes) const {
  const Driver &driver = device_->driver();
  if (bytes != 0) {
    driver.check(driver.api.copy_to_device(base_ + guard_bytes_, from, bytes), "cuMemcpyHtoD");
  }
}

std::vector<std::uint8_t> GuardedMemory::read(std::size_t offset, std::size_t bytes) const {
  const Driver &driver = device_->driver();
  std::vector<std::uint8_t> values(bytes);
  if (bytes != 0) {
    driver.check(driver.api.copy_to_host(values.data(), base_ + guard_bytes_ + offset, bytes), "cuMemcpyDtoH");
  }
  return values;
}

bool GuardedMemory::guards_intact() const {
  const Driver &driver = device_->driver();
  std::vector<std::uint8_t> guard(guard_bytes_);
  for (const cu::Address address : {base_, base_ + guard_bytes_ + bytes_}) {
    driver.check(driver.api.copy_to_host(guard.data(), address, guard_bytes_), "cuMemcpyDtoH");
    if (std::any_of(guard.begin(), guard.end(), [](std::uint8_t byte) { return byte != poison_byte; })) {
      return false;
    }
  }
  return true;
}

} // namespace sale::check
