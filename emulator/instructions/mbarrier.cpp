// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/mbarrier.hpp"

#include "emulator/instructions/address.hpp"

#include <fmt/format.h>

#include <array>

namespace sale::emulator {

namespace {

constexpr u32 object_bytes = 8;
constexpr u32 max_count = (1U << 20U) - 1; // PTX: arrivals, and the tx-count's magnitude
constexpr u64 state_tag = 0x3e5a;          // top 16 bits of a state, so that garbage is noticed
constexpr u64 state_phases = 0x0fffffff;   // 28 bits of the phase, above 20 of the pending count

constexpr int patience = 8;

// Waits of a thread that returned false since the last that returned true.
struct Refusals : State {
  int count = 0;
};

u32 count_operand(Thread &thread, const Instruction &instruction, const u64 *slot, int operand) {
  if (operand >= static_cast<int>(instruction.operands.size())) {
    return 1;
  }
  const u64 count = slot[instruction.operand(operand).slot];
  if (count < 1 || count > max_count) {
    fault(thread, instruction, fmt::format("a count of {} arrivals; 1 to {} are possible", count, max_count));
  }
  return static_cast<u32>(count);
}

u32 address_operand(Thread &thread, const Instruction &instruction, const u64 *slot, int operand) {
  const u64 address = slot[instruction.operand(operand).slot];
  u32 shared = 0;
  if (!is_shared(thread, space_of(instruction), address, shared)) {
    fault(thread, instruction, fmt::format("an mbarrier at {:#x}, which is not in shared memory", address));
  }
  return shared;
}

Mbarrier &barrier_operand(Thread &thread, const Instruction &instruction, const u64 *slot, int operand) {
  const u32 address = address_operand(thread, instruction, slot, operand);
  return thread.cta().state<Mbarriers>().at(thread, instruction, address);
}

void execute_init(Thread &thread, const Instruction &instruction, u64 *slot) {
  const u32 count = count_operand(thread, instruction, slot, 1);
  thread.cta().state<Mbarriers>().init(thread, instruction, address_operand(thread, instruction, slot, 0), count);
}

void execute_inval(Thread &thread, const Instruction &instruction, u64 *slot) {
  thread.cta().state<Mbarriers>().invalidate(thread, instruction, address_operand(thread, instruction, slot, 0));
}

long long bytes_operand(Thread &thread, const Instruction &instruction, const u64 *slot, int operand) {
  const auto bytes = static_cast<s32>(slot[instruction.operand(operand).slot]);
  if (bytes < 0 || bytes > static_cast<s32>(max_count)) {
    fault(thread, instruction, fmt::format("a tx-count of {} bytes; 0 to {} are possible", bytes, max_count));
  }
  return bytes;
}

void execute_expect_tx(Thread &thread, const Instruction &instruction, u64 *slot) {
  Mbarrier &barrier = barrier_operand(thread, instruction, slot, 0);
  const long long bytes = bytes_operand(thread, instruction, slot, 1);
  const bool complete = instruction.parts[1] == "complete_tx";
  thread.cta().state<Mbarriers>().expect(thread, instruction, barrier, complete ? -bytes : bytes);
}

// arrive and arrive_drop, each with or without .expect_tx
void execute_arrive(Thread &thread, const Instruction &instruction, u64 *slot) {
  Mbarriers &barriers = thread.cta().state<Mbarriers>();
  Mbarrier &barrier = barrier_operand(thread, instruction, slot, 1);
  const bool expect = instruction.has("expect_tx");
  const u32 count = expect ? 1 : count_operand(thread, instruction, slot, 2);
  if (!instruction.operand(0).sink) {
    slot[instruction.operand(0).slot] = state_tag << 48U | (barrier.phase() & state_phases) << 20U | barrier.pending();
  }
  if (expect) {
    barriers.expect(thread, instruction, barrier, bytes_operand(thread, instruction, slot, 2));
  }
  if (!instruction.has("relaxed")) {
    barrier.filling().release(thread.warp());
  }
  barriers.arrive(thread, instruction, barrier, count, instruction.parts[1] == "arrive_drop");
  thread.yield();
}

u64 check_state(Thread &thread, const Instruction &instruction, u64 state) {
  if (state >> 48U != state_tag) {
    fault(thread, instruction, fmt::format("{:#x} is no state that mbarrier.arrive returned", state));
  }
  return state;
}

// The phase that a state or a parity stands for: the current one, or the one before.
u64 waited_phase(Thread &thread, const Instruction &instruction, const Mbarrier &barrier, u64 operand) {
  const u64 current = barrier.phase();
  if (instruction.has("parity")) {
    if (operand > 1) {
      fault(thread, instruction, fmt::format("a phase parity of {}; it is 0 or 1", operand));
    }
    return operand == (current & 1U) ? current : current - 1;
  }
  const u64 behind = (current - (check_state(thread, instruction, operand) >> 20U)) & state_phases;
  if (behind > 1) {
    fault(thread, instruction,
          fmt::format("a state of phase {}, but the mbarrier is in phase {}: only the current phase and the one before "
                      "can be waited for",
                      current - behind, current));
  }
  return current - behind;
}

void execute_wait(Thread &thread, const Instruction &instruction, u64 *slot) {
  Mbarrier &barrier = barrier_operand(thread, instruction, slot, 1);
  const u64 phase = waited_phase(thread, instruction, barrier, slot[instruction.operand(2).slot]);
  const bool done = thread.cta().state<Mbarriers>().wait(thread, instruction, barrier, phase);
  if (done && !instruction.has("relaxed")) {
    barrier.completed().acquire(thread.warp());
  }
  slot[instruction.operand(0).slot] = done ? 1 : 0;
}

void execute_pending_count(Thread &thread, const Instruction &instruction, u64 *slot) {
  slot[instruction.operand(0).slot] = check_state(thread, instruction, slot[instruction.operand(1).slot]) & max_count;
}

} // namespace

void Mbarriers::init(Thread &thread, const Instruction &instruction, u32 address, u32 count) {
  if (barriers_.count(address) != 0) {
    fault(thread, instruction,
          fmt::format("there is a live mbarrier at {:#x} already; mbarrier.inval must end it first", address));
  }
  const AsyncAccess opaque =
      thread.cta().shared().begin_write(thread, instruction, address, object_bytes, object_bytes);
  Mbarrier &barrier = barriers_[address];
  barrier.opaque_ = opaque;
  barrier.address_ = address;
  barrier.expected_ = barrier.pending_ = count;
  barrier.agent_ = thread.cta().new_agent();
  barrier.init_warp_ = thread.warp().index();
  barrier.init_time_ = thread.warp().now();
  barrier.init_thread_ = thread.index();
  describe(barrier);
}

void Mbarriers::invalidate(Thread &thread, const Instruction &instruction, u32 address) {
  Mbarrier &barrier = at(thread, instruction, address);
  if (barrier.copies_ > 0) {
    fault(thread, instruction,
          fmt::format("{} copies that complete on the mbarrier at {:#x} are in flight", barrier.copies_, address));
  }
  if (barrier.waiting_ > 0) {
    fault(thread, instruction, fmt::format("{} threads wait for the mbarrier at {:#x}", barrier.waiting_, address));
  }
  for (u32 warp = 0; warp < thread.cta().warps(); ++warp) {
    if (warp != thread.warp().index() && barrier.waited_.of(warp) > thread.warp().clock().of(warp)) {
      fault(thread, instruction,
            fmt::format("race on the mbarrier at {:#x}: warp {} waited for it, and no barrier stands between", address,
                        warp));
    }
  }
  end_opaque(thread, barrier);
  barriers_.erase(address);
}

void Mbarriers::end_opaque(Thread &thread, const Mbarrier &barrier) {
  const std::array<u8, object_bytes> nothing{};
  thread.cta().shared().land_for(thread.warp(), barrier.opaque_, nothing.data());
}

void Mbarriers::at_return(Thread &thread) {
  if (thread.cta().running() == 0) {
    for (const auto &[address, barrier] : barriers_) {
      end_opaque(thread, barrier);
    }
  }
}

void Mbarriers::fence_init(const Thread &thread) {
  for (auto &[address, barrier] : barriers_) {
    barrier.fenced_ = barrier.fenced_ || barrier.init_thread_ == thread.index();
  }
}

void Mbarriers::fence_async_proxy(const Thread &thread) {
  for (auto &[address, barrier] : barriers_) {
    barrier.fenced_ = barrier.fenced_ || is_after_init(thread, barrier);
  }
}

bool Mbarriers::is_after_init(const Thread &thread, const Mbarrier &barrier) {
  return thread.warp().index() == barrier.init_warp_ ||
         thread.warp().clock().of(barrier.init_warp_) >= barrier.init_time_;
}

Mbarrier &Mbarriers::at(Thread &thread, const Instruction &instruction, u32 address) {
  const auto found = barriers_.find(address);
  if (found == barriers_.end()) {
    fault(thread, instruction, fmt::format("no mbarrier was initialised at {:#x}", address));
  }
  Mbarrier &barrier = found->second;
  if (!is_after_init(thread, barrier)) {
    fault(thread, instruction,
          fmt::format("race on the mbarrier at {:#x}: thread {} initialised it, and no barrier stands between", address,
                      barrier.init_thread_));
  }
  return barrier;
}

void Mbarriers::expect(Thread &thread, const Instruction &instruction, Mbarrier &barrier, long long bytes) {
  const long long sum = barrier.transactions_ + bytes;
  if (sum > max_count || sum - barrier.copy_bytes_ < -static_cast<long long>(max_count)) {
    fault(thread, instruction,
          fmt::format("the tx-count of the mbarrier at {:#x} would be {}, {} of them in flight; it must stay within "
                      "+-{}",
                      barrier.address_, sum, barrier.copy_bytes_, max_count));
  }
  barrier.transactions_ = sum;
  // expect-tx leaves the phase as it is: only complete-tx and arrivals end it.
  if (bytes < 0) {
    settle(barrier);
  } else {
    describe(barrier);
  }
}

void Mbarriers::arrive(Thread &thread, const Instruction &instruction, Mbarrier &barrier, u32 count, bool drop) {
  if (count > barrier.pending_) {
    fault(thread, instruction,
          fmt::format("{} arrivals on the mbarrier at {:#x}, whose phase {} lacks only {} of {}", count,
                      barrier.address_, barrier.phase_, barrier.pending_, barrier.expected_));
  }
  barrier.pending_ -= count;
  barrier.expected_ -= drop ? count : 0;
  settle(barrier);
}

void Mbarriers::expect_arrival(Mbarrier &barrier) {
  ++barrier.pending_;
  describe(barrier);
}

void Mbarriers::settle(Mbarrier &barrier) {
  if (barrier.pending_ == 0 && barrier.transactions_ == 0) {
    ++barrier.phase_;
    barrier.pending_ = barrier.expected_;
    barrier.completed_.join(barrier.filling_);
    barrier.filling_.clear();
    barrier.changed_.raise();
  }
  describe(barrier);
}

void Mbarriers::describe(Mbarrier &barrier) {
  barrier.missing_ = fmt::format(
      "mbarrier {:#x} to end phase {} (parity {}), which lacks {} of {} arrivals and {} bytes", barrier.address_,
      barrier.phase_, barrier.phase_ & 1U, barrier.pending_, barrier.expected_, barrier.transactions_);
}

bool Mbarriers::wait(Thread &thread, const Instruction &instruction, Mbarrier &barrier, u64 phase) {
  int &refusals = thread.state<Refusals>().count;
  const u64 idle = barrier.idle_;
  while (barrier.phase_ == phase) {
    if (refusals < patience) {
      if (barrier.idle_ != idle) {
        ++refusals;
        return false;
      }
      if (!barrier.alarm_) {
        barrier.alarm_ = true;
        thread.cta().post([this, address = barrier.address_] { ring(address); });
      }
    }
    ++barrier.waiting_;
    thread.wait(instruction, barrier.changed_, barrier.changed_.generation(), barrier.missing_);
    --barrier.waiting_;
  }
  refusals = 0;
  barrier.waited_.set(thread.warp().index(), thread.warp().now());
  return true;
}

void Mbarriers::ring(u32 address) {
  const auto found = barriers_.find(address);
  if (found != barriers_.end()) {
    found->second.alarm_ = false;
    ++found->second.idle_;
    found->second.changed_.raise();
  }
}

Mbarrier &Mbarriers::begin_copy(Thread &thread, const Instruction &instruction, u32 address, u32 bytes) {
  Mbarrier &barrier = at(thread, instruction, address);
  if (!barrier.fenced_) {
    fault(
        thread, instruction,
        fmt::format("the mbarrier at {:#x} is not visible to the asynchronous proxy: thread {} initialised it without "
                    "fence.mbarrier_init or fence.proxy.async after",
                    address, barrier.init_thread_));
  }
  if (barrier.transactions_ - barrier.copy_bytes_ - bytes < -static_cast<long long>(max_count)) {
    fault(
        thread, instruction,
        fmt::format("{} bytes would take the tx-count of the mbarrier at {:#x} below -{}", bytes, address, max_count));
  }
  ++barrier.copies_;
  barrier.copy_bytes_ += bytes;
  return barrier;
}

void Mbarriers::end_copy(Cta &cta, const Instruction &instruction, Mbarrier &barrier, u32 bytes) {
  --barrier.copies_;
  barrier.copy_bytes_ -= bytes;
  barrier.transactions_ -= bytes;
  settle(barrier);
  if (cta.running() == 0 && left_behind_.empty()) {
    left_behind_ = fmt::format("a copy was in flight when the last thread returned, {}", instruction.describe());
  }
}

Handler find_mbarrier(const Instruction &instruction) {
  if (instruction.parts[0] != "mbarrier" || instruction.parts.size() < 2 || instruction.has("noComplete")) {
    return nullptr;
  }
  const std::string &operation = instruction.parts[1];
  if (operation == "init") {
    return execute_init;
  }
  if (operation == "inval") {
    return execute_inval;
  }
  if (operation == "expect_tx" || operation == "complete_tx") {
    return execute_expect_tx;
  }
  if (operation == "arrive" || operation == "arrive_drop") {
    return execute_arrive;
  }
  if (operation == "test_wait" || operation == "try_wait") {
    return execute_wait;
  }
  return operation == "pending_count" ? execute_pending_count : nullptr;
}

} // namespace sale::emulator
