// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/warp.hpp"

#include "emulator/machine/describe.hpp"
#include "emulator/machine/scheduler.hpp"
#include "emulator/machine/sites.hpp"

#include <fmt/format.h>

#include <bit>

namespace sale::emulator {

Warp::Meeting *Warp::arrive(Thread &thread, const Instruction &instruction, u64 *slot, u32 mask) {
  Meeting *meeting = nullptr;
  for (u32 open = open_; open != 0 && meeting == nullptr; open &= open - 1) {
    Meeting &each = meetings_[static_cast<std::size_t>(std::countr_zero(open))];
    if (each.instruction == &instruction && each.mask == mask) {
      meeting = &each;
    }
  }
  if (meeting == nullptr) {
    check_new(thread, instruction, mask);
    open_ |= 1U << thread.lane();
    meeting = &meetings_[thread.lane()];
    *meeting = {.instruction = &instruction, .mask = mask};
  }
  meeting->slots[thread.lane()] = slot;
  meeting->arrived |= 1U << thread.lane();
  if (meeting->arrived == mask) {
    thread.cta().sites().count_executed(instruction);
    return meeting;
  }
  thread.waits_at_ = &instruction;
  thread.waits_for_ = nullptr;
  scheduler_->block();
  thread.waits_at_ = nullptr;
  return nullptr;
}

void Warp::check_new(Thread &thread, const Instruction &instruction, u32 mask) const {
  const u32 self = 1U << thread.lane();
  if ((mask & self) == 0) {
    fault(thread, instruction, fmt::format("The mask {:#010x} of a collective leaves out its own lane", mask));
  }
  for (u32 open = open_; open != 0; open &= open - 1) {
    const Meeting &other = meetings_[static_cast<std::size_t>(std::countr_zero(open))];
    if ((other.mask & self) != 0 && (mask & other.arrived) != 0) { // each waits for the other
      fault(thread, instruction,
            fmt::format("The lanes of a warp meet different collectives: {} (mask {:#010x}) already at {}; lane {} "
                        "(mask {:#010x}) at {}",
                        describe_lanes(other.arrived), other.mask, other.instruction->describe(), thread.lane(), mask,
                        instruction.describe()));
    }
  }
  const auto refuse = [&](u32 lanes, const char *why) {
    if (lanes != 0) {
      fault(thread, instruction,
            fmt::format("The mask {:#010x} of a collective names {}, which {}", mask, describe_lanes(lanes), why));
    }
  };
  refuse(mask & ~lanes_, "the CTA does not have");
  refuse(mask & returned_, "returned already");
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
