// SPDX-License-Identifier: Apache-2.0
// An open file or folder that closes itself, and system calls that signals do not disturb.
#pragma once

#include <cerrno>
#include <unistd.h>
#include <utility>

namespace sale {

class Descriptor {
public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor &&other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor &operator=(Descriptor &&other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() {
    if (value_ >= 0) {
      ::close(value_);
    }
  }

  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }
  explicit operator bool() const { return value_ >= 0; }

private:
  int value_ = -1;
};

/// Repeats a system call for as long as a signal interrupts it.
template <class Call>
auto without_interruption(const Call &call) {
  auto result = call();
  while (result < 0 && errno == EINTR) {
    result = call();
  }
  return result;
}

} // namespace sale
