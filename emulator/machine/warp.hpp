// SPDX-License-Identifier: Apache-2.0
// A warp: where its lanes meet for a collective.
#pragma once

#include "emulator/machine/clock.hpp"
#include "emulator/machine/thread.hpp"

#include <array>

namespace sale::emulator {

/// The operand slots of each lane; null for lanes that take no part.
using LaneSlots = std::array<u64 *, 32>;

class Warp : public StateHolder {
public:
  u32 index() const { return index_; }
  u32 lanes() const { return lanes_; }       ///< Those that exist: fewer than 32 in a CTA's last warp.
  u32 returned() const { return returned_; } ///< Those whose threads have returned.

  Clock &clock() { return clock_; }
  Clock &fenced() { return fenced_; } ///< What of it the asynchronous proxy may read.
  u32 now() const { return clock_.of(index_); }
  void advance() { clock_.set(index_, now() + 1); } ///< What follows is later than what was released.

  /// Gathers the lanes of `mask`; the last to arrive runs execute(const LaneSlots &) for all, then they go on. Faults
  /// when lanes of the mask meet different instructions or bring different masks, and when one has returned.
  template <class Execute>
  void collective(Thread &thread, const Instruction &instruction, u64 *slot, const Execute &execute,
                  u32 mask = 0xffffffffU) {
    if (Meeting *meeting = arrive(thread, instruction, slot, mask)) {
      execute(static_cast<const LaneSlots &>(meeting->slots));
      release(*meeting, thread);
    }
  }

private:
  friend class Cta;

  /// A collective that is gathering its lanes. Each stands at the index of its first lane to arrive.
  struct Meeting {
    const Instruction *instruction = nullptr;
    u32 mask = 0;
    u32 arrived = 0;
    LaneSlots slots{};
  };

  /// Blocks until the meeting is over, and gives null; or for the last lane, at once, the meeting.
  Meeting *arrive(Thread &thread, const Instruction &instruction, u64 *slot, u32 mask);
  void check_new(Thread &thread, const Instruction &instruction, u32 mask) const; ///< A meeting that may open.
  void release(Meeting &meeting, Thread &last);
  void leave(Thread &thread); ///< It returns: nobody may still wait for it.
  void reset();

  Scheduler *scheduler_ = nullptr;
  u32 index_ = 0;
  u32 lanes_ = 0;
  u32 returned_ = 0;
  u32 open_ = 0; ///< Meetings in use.
  std::array<Meeting, 32> meetings_{};
  Clock clock_;
  Clock fenced_;
};

} // namespace sale::emulator
