// SPDX-License-Identifier: Apache-2.0
// What the emulator's library offers beside the driver's calls; with a real driver nothing happens.
#pragma once

#include "runtime/driver.hpp"
#include "runtime/shared_library.hpp"

#include <cstdint>
#include <optional>

namespace sale::check {

class EmulatorControls {
public:
  explicit EmulatorControls(const Driver &driver);

  /// 0: threads and copies always run in the same order; else in a random one drawn from the seed.
  void set_seed(std::uint64_t seed) const;
  /// OS threads per launch; 0 = one per core.
  void set_workers(int workers) const;
  /// Tensor-core instructions of warps so far; nothing where they are not counted.
  std::optional<unsigned long long> products() const;

private:
  template <class Function>
  Function *symbol(const char *name) const {
    return reinterpret_cast<Function *>(library_->symbol(name));
  }

  std::optional<SharedLibrary> library_;
};

} // namespace sale::check
