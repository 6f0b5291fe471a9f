// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/clock.hpp"

#include <algorithm>

namespace sale::emulator {

void Clock::set(Actor actor, u32 time) {
  if (actor >= time_.size()) {
    time_.resize(actor + 1);
  }
  time_[actor] = time;
}

void Clock::join(const Clock &other) {
  if (other.time_.size() > time_.size()) {
    time_.resize(other.time_.size());
  }
  for (std::size_t i = 0; i < other.time_.size(); ++i) {
    time_[i] = std::max(time_[i], other.time_[i]);
  }
}

} // namespace sale::emulator
