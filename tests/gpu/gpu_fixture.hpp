// SPDX-License-Identifier: Apache-2.0
// A test with a GPU: the driver is open and the primary context of device 0 is current. Skips where there is no GPU.
#pragma once

#include "runtime/driver.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace sale::test {

/// The driver with device 0's primary context current, or null and a reason.
struct Gpu {
  std::shared_ptr<const Driver> driver;
  std::string why_not;

  static const Gpu &get();
};

class GpuTest : public ::testing::Test {
protected:
  void SetUp() override {
    if (Gpu::get().driver == nullptr) {
      GTEST_SKIP() << "no GPU: " << Gpu::get().why_not;
    }
  }
};

/// Device memory between two guard zones, all of it poisoned: what a kernel must not read is NaN, what it must not
/// write is checked afterwards.
class GuardedMemory {
public:
  explicit GuardedMemory(std::size_t bytes);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory &) = delete;
  GuardedMemory &operator=(const GuardedMemory &) = delete;

  void *data() const { return reinterpret_cast<void *>(base_ + guard_bytes); }
  std::size_t bytes() const { return bytes_; }
  void write(const void *from, std::size_t bytes) const;
  std::vector<std::uint8_t> read(std::size_t offset, std::size_t bytes) const;
  /// Neither guard zone was written.
  bool guards_intact() const;

  template <class T>
  std::vector<T> read_as(std::size_t offset, std::size_t count) const {
    const std::vector<std::uint8_t> raw = read(offset, count * sizeof(T));
    std::vector<T> values(count);
    if (count != 0) {
      std::memcpy(values.data(), raw.data(), raw.size());
    }
    return values;
  }

private:
  static constexpr std::size_t guard_bytes = 4096;

  cu::Address base_ = 0;
  std::size_t bytes_;
};

} // namespace sale::test
