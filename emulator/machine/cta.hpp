// SPDX-License-Identifier: Apache-2.0
// A CTA: its threads as fibers on one OS thread, its shared memory, and what happens when no thread can run.
#pragma once

#include "emulator/machine/shared_memory.hpp"
#include "emulator/machine/thread.hpp"
#include "emulator/machine/warp.hpp"

#include <functional>

namespace sale::emulator {

struct Dim3 {
  u32 x = 1, y = 1, z = 1;
};

class Cta : public StateHolder {
public:
  Dim3 block_index() const; ///< %ctaid
  Dim3 grid() const;        ///< %nctaid
  u32 threads() const;      ///< %ntid.x
  u32 running() const;      ///< Threads that have not returned.
  Warp &warp(u32 index);
  SharedMemory &shared();

  /// Runs `event` at the latest legal moment: when every thread is blocked or has returned. In order of posting, or
  /// with a seed in any order.
  void post(std::function<void()> event);

  /// A new agent for vector clocks (one per mbarrier).
  Actor new_agent();

private:
  struct Members;
  std::unique_ptr<Members> members_;
};

} // namespace sale::emulator
