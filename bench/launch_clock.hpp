// SPDX-License-Identifier: Apache-2.0
// Time that calls spend inside the driver's own launches, so that what is left is libsale's.
#pragma once

#include "runtime/driver.hpp"

namespace sale::bench {

/// While it lives, launches and fills of this driver are counted and timed, each at the cost of two looks at the clock:
/// those of every Engine that opened the same library too (Driver::open). One at a time, and no other thread may use
/// the driver.
class LaunchClock {
public:
  explicit LaunchClock(const Driver &driver);
  ~LaunchClock();
  LaunchClock(const LaunchClock &) = delete;
  LaunchClock &operator=(const LaunchClock &) = delete;

  int launches() const;
  /// Inside them, of the calling thread.
  double microseconds() const;

private:
  cu::Api &api_;
};

} // namespace sale::bench
