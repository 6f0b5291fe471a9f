// SPDX-License-Identifier: Apache-2.0
// One CUDA thread: a fiber of its CTA, and what blocks it.
#pragma once

#include "emulator/machine/state.hpp"
#include "emulator/ptx/instruction.hpp"

#include <cstddef>
#include <string>

namespace sale::emulator {

class Cta;
class Scheduler;
class Thread;
class Warp;

/// What threads wait for: a generation that moves on. Of one CTA; stays where it is (threads hold on to it).
class Signal {
public:
  Signal() = default;
  Signal(const Signal &) = delete;
  Signal &operator=(const Signal &) = delete;

  u64 generation() const { return generation_; }
  void raise(); ///< Everyone who waits becomes ready.

private:
  friend class Thread;
  u64 generation_ = 0;
  mutable Thread *waiting_ = nullptr; ///< The first of a list.
};

class Thread : public StateHolder {
public:
  Cta &cta() const { return *cta_; }
  Warp &warp() const { return *warp_; }
  u32 index() const { return index_; } ///< %tid.x
  u32 lane() const { return index_ % 32; }

  /// Lets others run until the signal's generation differs from `seen`. `what` names the wait in a deadlock report
  /// ("mbarrier 0x480, phase parity 1"). It is not copied: the report reads it when it is made, so that it may change
  /// meanwhile.
  void wait(const Instruction &instruction, const Signal &signal, u64 seen, const std::string &what);
  /// Lets others run at once: the adversarial moment after an arrival.
  void yield();
  /// Whether these bytes are this thread's own stack (its local memory).
  bool on_stack(const void *address, std::size_t bytes) const;

private:
  friend class Cta;
  friend class Scheduler;
  friend class Signal;
  friend class Warp;

  Cta *cta_ = nullptr;
  Warp *warp_ = nullptr;
  Scheduler *scheduler_ = nullptr;
  u32 index_ = 0;
  void *context_ = nullptr;                ///< The fiber, while it does not run.
  const Instruction *waits_at_ = nullptr;  ///< Null when it does not wait.
  const std::string *waits_for_ = nullptr; ///< Null when it waits for the other lanes of a collective.
  mutable Thread *next_waiting_ = nullptr; ///< On the same signal.
};

/// The thread whose code is running; only within a launch. While an event runs: the last one that ran.
Thread &current_thread();

/// Ends the launch with a report that names thread, warp, CTA, instruction and source line. The thread's stack is
/// abandoned, never unwound: hold no lock here.
[[noreturn]] void fault(Thread &thread, const Instruction &instruction, const std::string &message);

} // namespace sale::emulator
