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
  void join(const Synchronization &other);
  void clear();

  Clock &clock() { return clock_; }

private:
  Clock clock_;
  Clock fenced_; ///< As clock_, for what a fence.proxy.async stands behind.
};

} // namespace sale::emulator
