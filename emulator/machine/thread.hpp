// SPDX-License-Identifier: Apache-2.0
// One CUDA thread: a fiber of its CTA, and what blocks it.
#pragma once

#include "emulator/machine/state.hpp"
#include "emulator/ptx/instruction.hpp"

#include <string>

namespace sale::emulator {

class Cta;
class Warp;

/// What threads wait for: a generation that moves on.
class Signal {
public:
  u64 generation() const { return generation_; }
  void raise() { ++generation_; } ///< Everyone who waits becomes ready.

private:
  u64 generation_ = 0;
};

class Thread : public StateHolder {
public:
  Cta &cta() const { return *cta_; }
  Warp &warp() const { return *warp_; }
  u32 index() const { return index_; } ///< %tid.x
  u32 lane() const { return index_ % 32; }

  /// Lets others run until the signal's generation differs from `seen`. `what` names the wait in a deadlock report
  /// ("mbarrier 0x480, phase parity 1").
  void wait(const Instruction &instruction, const Signal &signal, u64 seen, const std::string &what);
  /// Lets others run at once: the adversarial moment after an arrival.
  void yield();

private:
  friend class Cta;
  Cta *cta_ = nullptr;
  Warp *warp_ = nullptr;
  u32 index_ = 0;
};

/// The thread whose code is running; only within a launch.
Thread &current_thread();

/// Ends the launch with a report that names thread, warp, CTA, instruction and source line. The thread's stack is
/// abandoned, never unwound: hold no lock here.
[[noreturn]] void fault(Thread &thread, const Instruction &instruction, const std::string &message);

} // namespace sale::emulator
