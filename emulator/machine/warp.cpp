// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/warp.hpp"

#include "emulator/machine/describe.hpp"
#include "emulator/machine/scheduler.hpp"
#include "emulator/machine/sites.hpp"

#include <fmt/format.h>

#include <bit>

namespace sale::emulator {

Warp::Meeting *Warp::arrive(Thread &thread, const Instruction &instruction, u64 *slot, u32 mask) {
  Meeting &meeting = meet(thread, instruction, mask);
  meeting.slots[thread.lane()] = slot;
  meeting.arrived |= 1U << thread.lane();
  if (meeting.arrived == mask) {
    thread.cta().sites().count_executed(instruction);
    return &meeting;
  }
  thread.waits_at_ = &instruction;
  thread.waits_for_ = nullptr;
  scheduler_->block();
  thread.waits_at_ = nullptr;
  return nullptr;
}

Warp::Meeting &Warp::meet(Thread &thread, const Instruction &instruction, u32 mask) {
  const u32 self = 1U << thread.lane();
  for (u32 open = open_; open != 0; open &= open - 1) {
    Meeting &meeting = meetings_[static_cast<std::size_t>(std::countr_zero(open))];
    const bool same = meeting.instruction == &instruction && meeting.mask == mask;
    if (same) {
      return meeting;
    }
    // Each side waits for the other: neither can go on.
    if ((meeting.mask & self) != 0 && (mask & meeting.arrived) != 0) {
      fault(thread, instruction,
            fmt::format("The lanes of a warp meet different collectives: {} (mask {:#010x}) already waits at {} (mask "
                        "{:#010x}), lane {} is here (mask {:#010x})",
                        describe_lanes(meeting.arrived), meeting.mask, meeting.instruction->describe(), meeting.mask,
                        thread.lane(), mask));
    }
  }
  if ((mask & self) == 0) {
    fault(thread, instruction, fmt::format("The mask {:#010x} of a collective leaves out its own lane", mask));
  }
  if ((mask & ~lanes_) != 0) {
    fault(thread, instruction,
          fmt::format("The mask {:#010x} of a collective names {}, which the CTA does not have", mask,
                      describe_lanes(mask & ~lanes_)));
  }
  if ((mask & returned_) != 0) {
    fault(thread, instruction,
          fmt::format("The mask {:#010x} of a collective names {}, which returned already", mask,
                      describe_lanes(mask & returned_)));
  }
  open_ |= self;
  Meeting &meeting = meetings_[thread.lane()];
  meeting = {.instruction = &instruction, .mask = mask};
  return meeting;
}

void Warp::release(Meeting &meeting, Thread &last) {
  open_ &= ~(1U << static_cast<u32>(&meeting - meetings_.data()));
  scheduler_->make_ready(index_, meeting.mask & ~(1U << last.lane()));
}

void Warp::leave(Thread &thread) {
  returned_ |= 1U << thread.lane();
  for (u32 open = open_; open != 0; open &= open - 1) {
    const Meeting &meeting = meetings_[static_cast<std::size_t>(std::countr_zero(open))];
    if ((meeting.mask >> thread.lane() & 1U) != 0) {
      fault(thread, *meeting.instruction,
            fmt::format("A thread returns while {} of its warp wait for it in a collective",
                        describe_lanes(meeting.arrived)));
    }
  }
}

void Warp::reset() {
  returned_ = 0;
  open_ = 0;
  clock_.clear();
  clock_.set(index_, 1);
  fenced_.clear();
  clear_states();
}

} // namespace sale::emulator
