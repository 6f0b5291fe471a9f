// SPDX-License-Identifier: Apache-2.0
// The ordering that a barrier, mbarrier or completed copy passes on.
#pragma once

#include "emulator/machine/clock.hpp"

namespace sale::emulator {

class Cta;
class Warp;

/// Released clocks gather here and are acquired by whoever passes. One per barrier, two per mbarrier (the phase that is
/// filling and the last one that completed).
class Synchronization {
public:
  void release(Warp &warp); ///< Everything the warp did so far comes before what acquirers do next.
  void acquire(Warp &warp);
  void join(const Synchronization &other) { clock_.join(other.clock_); }
  void clear() { clock_.clear(); }

  Clock &clock() { return clock_; }

private:
  Clock clock_;
};

} // namespace sale::emulator
