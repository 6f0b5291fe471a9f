// SPDX-License-Identifier: Apache-2.0
// Vector clocks: which accesses are ordered by synchronisation ("happens before"), whatever order they ran in.
#pragma once

#include "emulator/ptx/instruction.hpp"

#include <vector>

namespace sale::emulator {

/// Who acts: warps first (by index), then asynchronous agents (one per mbarrier, for the copies that complete on it).
using Actor = u32;

/// How much of every actor's past is known here.
class Clock {
public:
  u32 of(Actor actor) const { return actor < time_.size() ? time_[actor] : 0; }
  void set(Actor actor, u32 time);
  void join(const Clock &other); ///< Component-wise maximum.
  void clear() { time_.clear(); }

private:
  std::vector<u32> time_;
};

} // namespace sale::emulator
