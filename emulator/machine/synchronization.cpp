// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/synchronization.hpp"

#include "emulator/machine/warp.hpp"

namespace sale::emulator {

void Synchronization::release(Warp &warp) {
  clock_.join(warp.clock());
  fenced_.join(warp.fenced());
  warp.advance();
}

void Synchronization::acquire(Warp &warp) {
  warp.clock().join(clock_);
  warp.fenced().join(fenced_);
}

void Synchronization::join(const Synchronization &other) {
  clock_.join(other.clock_);
  fenced_.join(other.fenced_);
}

void Synchronization::clear() {
  clock_.clear();
  fenced_.clear();
}

} // namespace sale::emulator
