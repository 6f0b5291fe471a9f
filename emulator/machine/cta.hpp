// SPDX-License-Identifier: Apache-2.0
// A CTA: its threads as fibers on one OS thread, its shared memory, and what happens when no thread can run.
#pragma once

#include "emulator/machine/shared_memory.hpp"
#include "emulator/machine/thread.hpp"
#include "emulator/machine/warp.hpp"

#include <functional>
#include <memory>
#include <string>

namespace sale::emulator {

struct LaunchState;
class Scheduler;
class Sites;
class Stacks;

struct Dim3 {
  u32 x = 1, y = 1, z = 1;
};

class Cta : public StateHolder {
public:
  /// Runs CTAs of `launch` one after the other, on the OS thread that owns `stacks` and `sites`.
  Cta(LaunchState &launch, Stacks &stacks, Sites &sites);
  ~Cta();

  /// Until every thread returned, or a fault. `seed`: this CTA's own; 0 for always the same order.
  void run(const Dim3 &block_index, u64 seed);

  Dim3 block_index() const; ///< %ctaid
  Dim3 grid() const;        ///< %nctaid
  u32 threads() const;      ///< %ntid.x
  u32 running() const;      ///< Threads that have not returned.
  u32 warps() const;
  Thread &thread(u32 index);
  Warp &warp(u32 index);
  SharedMemory &shared();
  Sites &sites();

  /// Runs `event` at the latest legal moment: when every thread is blocked or has returned. In order of posting, or
  /// with a seed in any order.
  void post(std::function<void()> event);

  /// A new agent for vector clocks (one per mbarrier).
  Actor new_agent();

  /// Ends the launch with this text.
  [[noreturn]] void fail(const std::string &text);
  /// Ends the launch: no thread can run and nothing will change that.
  [[noreturn]] void deadlock();

private:
  friend class Scheduler;
  struct Members;
  void run_thread(Thread &thread); ///< All of its life, on its own stack.
  void finish();                   ///< Every thread has returned.

  std::unique_ptr<Members> members_;
};

} // namespace sale::emulator
