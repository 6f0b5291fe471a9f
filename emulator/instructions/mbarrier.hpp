// SPDX-License-Identifier: Apache-2.0
// mbarrier: arrivals, transaction bytes and phases. The object's 8 bytes are opaque: any other access to them faults.
#pragma once

#include "emulator/machine/cta.hpp"

#include <map>

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_mbarrier(const Instruction &instruction);

/// One mbarrier object.
class Mbarrier {
public:
  u64 phase() const { return phase_; }
  u32 pending() const { return pending_; }
  Actor agent() const { return agent_; }              ///< The copies that complete here.
  Synchronization &filling() { return filling_; }     ///< What the arrivals of the current phase release.
  Synchronization &completed() { return completed_; } ///< What a wait acquires.
  const Signal &changed() const { return changed_; }

  /// What a deadlock report says of a wait: "mbarrier 0x480 to end phase 2 (parity 0), which lacks 1 of 4 arrivals and
  /// 2048 bytes". Always up to date.
  const std::string &missing() const { return missing_; }

private:
  friend class Mbarriers;

  u32 address_ = 0;
  u64 phase_ = 0;
  u32 expected_ = 0; ///< arrivals of each phase
  u32 pending_ = 0;  ///< arrivals that the phase still needs
  long long transactions_ = 0;
  u32 waiting_ = 0; ///< threads
  u32 copies_ = 0;  ///< issued, not landed yet
  long long copy_bytes_ = 0;

  Synchronization filling_;
  Synchronization completed_;
  Signal changed_;
  std::string missing_;
  bool alarm_ = false; ///< its waits will be told when nothing else can run ..
  u64 idle_ = 0;       ///< .. as they have been, so many times
  Actor agent_ = 0;

  Clock waited_; ///< When each warp's last wait ended.

  AsyncAccess opaque_; ///< keeps everyone else from the object's bytes
  Actor init_warp_ = 0;
  u32 init_time_ = 0;
  u32 init_thread_ = 0;
  bool fenced_ = false; ///< the initialisation, for the asynchronous proxy
};

/// The mbarriers of a CTA.
class Mbarriers : public State {
public:
  void init(Thread &thread, const Instruction &instruction, u32 address, u32 count);
  void invalidate(Thread &thread, const Instruction &instruction, u32 address);
  void fence_init(const Thread &thread);        ///< fence.mbarrier_init: of what the thread initialised.
  void fence_async_proxy(const Thread &thread); ///< fence.proxy.async: of whatever comes before it.

  /// Faults unless a live mbarrier is there whose initialisation comes before what `thread` does now.
  Mbarrier &at(Thread &thread, const Instruction &instruction, u32 address);
  void expect(Thread &thread, const Instruction &instruction, Mbarrier &barrier, long long bytes);
  /// One more arrival in the current phase, that something asynchronous will make.
  static void expect_arrival(Mbarrier &barrier);
  void arrive(Thread &thread, const Instruction &instruction, Mbarrier &barrier, u32 count, bool drop);
  /// Whether `phase` of the barrier has ended. Blocks until it has or nothing else can run; after several such refusals
  /// in a row only until it has, so that a deadlock is one.
  bool wait(Thread &thread, const Instruction &instruction, Mbarrier &barrier, u64 phase);

  /// A copy that will complete `bytes` on the mbarrier there; the reference stays valid until it has.
  Mbarrier &begin_copy(Thread &thread, const Instruction &instruction, u32 address, u32 bytes);
  void end_copy(Cta &cta, const Instruction &instruction, Mbarrier &barrier, u32 bytes);

  void at_return(Thread &thread) override;
  std::string left_behind() const override { return left_behind_; }

private:
  /// Whether the initialisation comes before what `thread` does now.
  static bool is_after_init(const Thread &thread, const Mbarrier &barrier);
  static void settle(Mbarrier &barrier); ///< Ends the phase if it is complete.
  static void describe(Mbarrier &barrier);
  static void end_opaque(Thread &thread, const Mbarrier &barrier);
  void ring(u32 address);

  std::map<u32, Mbarrier> barriers_; // references stay valid
  std::string left_behind_;
};

} // namespace sale::emulator
