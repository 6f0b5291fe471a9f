// SPDX-License-Identifier: Apache-2.0
// Device memory between two guard zones, all of it poisoned: what a kernel must not read is NaN, what it must not write
// is checked afterwards.
#pragma once

#include "runtime/device.hpp"

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace sale::check {

/// The device's context is current wherever one is used. The emulator checks bounds itself: there are no guard zones,
/// so that they don't hide what is beyond.
class GuardedMemory {
public:
  GuardedMemory(std::shared_ptr<const Device> device, std::size_t bytes);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory &) = delete;
  GuardedMemory &operator=(const GuardedMemory &) = delete;

  void *data() const { return reinterpret_cast<void *>(base_ + guard_bytes_); }
  std::size_t bytes() const { return bytes_; }
  /// As at first.
  void poison() const;
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
  std::size_t words() const; // that are allocated

  std::shared_ptr<const Device> device_;
  std::size_t guard_bytes_;
  cu::Address base_ = 0;
  std::size_t bytes_;
};

} // namespace sale::check
