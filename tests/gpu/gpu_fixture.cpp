// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/gpu_fixture.hpp"

#include <algorithm>

namespace sale::test {

namespace {

// 0xffff is a NaN in bf16 and in f16, 0xffffffff in fp32.
constexpr std::uint8_t poison = 0xff;

} // namespace

const Gpu &Gpu::get() {
  static const Gpu gpu = [] {
    Gpu found;
    try {
      auto driver = Driver::open();
      cu::Device device = 0;
      cu::Context context = nullptr;
      driver->check(driver->api.device_get(&device, 0), "cuDeviceGet");
      driver->check(driver->api.primary_retain(&context, device), "cuDevicePrimaryCtxRetain");
      driver->check(driver->api.context_push(context), "cuCtxPushCurrent");
      found.driver = driver;
    } catch (const Error &error) {
      found.why_not = error.what();
    }
    return found;
  }();
  return gpu;
}

GuardedMemory::GuardedMemory(std::size_t bytes) : bytes_(bytes) {
  const Driver &driver = *Gpu::get().driver;
  const std::size_t words = (bytes + 2 * guard_bytes + 3) / 4;
  driver.check(driver.api.memory_allocate(&base_, words * 4), "cuMemAlloc");
  driver.check(driver.api.fill_words(base_, ~0U, words, nullptr), "cuMemsetD32Async");
  driver.check(driver.api.stream_synchronize(nullptr), "cuStreamSynchronize");
}

GuardedMemory::~GuardedMemory() { Gpu::get().driver->api.memory_free(base_); }

void GuardedMemory::write(const void *from, std::size_t bytes) const {
  const Driver &driver = *Gpu::get().driver;
  if (bytes != 0) {
    driver.check(driver.api.copy_to_device(base_ + guard_bytes, from, bytes), "cuMemcpyHtoD");
  }
}

std::vector<std::uint8_t> GuardedMemory::read(std::size_t offset, std::size_t bytes) const {
  const Driver &driver = *Gpu::get().driver;
  std::vector<std::uint8_t> values(bytes);
  if (bytes != 0) {
    driver.check(driver.api.copy_to_host(values.data(), base_ + guard_bytes + offset, bytes), "cuMemcpyDtoH");
  }
  return values;
}

bool GuardedMemory::guards_intact() const {
  const Driver &driver = *Gpu::get().driver;
  std::vector<std::uint8_t> guard(guard_bytes);
  for (const cu::Address address : {base_, base_ + guard_bytes + bytes_}) {
    driver.check(driver.api.copy_to_host(guard.data(), address, guard_bytes), "cuMemcpyDtoH");
    if (std::any_of(guard.begin(), guard.end(), [](std::uint8_t byte) { return byte != poison; })) {
      return false;
    }
  }
  return true;
}

} // namespace sale::test
