// SPDX-License-Identifier: Apache-2.0
// Kernels for tests, written as lambdas on the machine itself: what compiled kernels and instruction handlers do.
#pragma once

#include "emulator/machine/launch.hpp"

#include <functional>
#include <string>

namespace sale::emulator {

/// Instruction "a.b" of the source line "test.cuh:line".
inline Instruction make_instruction(const std::string &first, const std::string &second, int line) {
  Instruction instruction;
  instruction.text = first + "." + second + ";";
  instruction.parts = {first, second};
  instruction.site.lines.push_back({.file = "test.cuh", .line = line, .function = "kernel"});
  return instruction;
}

inline const Instruction load = make_instruction("ld", "shared", 10);
inline const Instruction store = make_instruction("st", "shared", 20);
inline const Instruction sync = make_instruction("bar", "sync", 30);
inline const Instruction shuffle = make_instruction("shfl", "sync", 40);
inline const Instruction vote = make_instruction("vote", "sync", 50);
inline const Instruction copy = make_instruction("cp", "async", 60);
inline const Instruction atomic = make_instruction("atom", "shared", 70);

using Kernel = std::function<void(Thread &)>;

struct Outcome {
  std::string report; ///< Empty when nothing was wrong.
  Statistics statistics;
};

inline Outcome run(const LaunchShape &shape, const Kernel &kernel, const LaunchOptions &options = {}) {
  Outcome outcome;
  const void *params[] = {&kernel};
  const auto report = launch([](void **its) { (*static_cast<const Kernel *>(its[0]))(current_thread()); },
                             const_cast<void **>(params), shape, options, outcome.statistics);
  outcome.report = report ? report->text : "";
  return outcome;
}

/// One CTA.
inline Outcome run(u32 threads, u32 shared_bytes, const Kernel &kernel, const LaunchOptions &options = {}) {
  return run({.grid = {}, .block = {threads, 1, 1}, .shared_bytes = shared_bytes}, kernel, options);
}

/// bar.sync 0 of all threads, as an instruction handler would have it.
struct Barrier : State {
  Signal signal;
  Synchronization filling;
  Synchronization complete;
  u32 arrived = 0;

  static void wait(Thread &thread) {
    auto &barrier = thread.cta().state<Barrier>();
    barrier.filling.release(thread.warp());
    const u64 seen = barrier.signal.generation();
    if (++barrier.arrived == thread.cta().threads()) {
      barrier.arrived = 0;
      barrier.complete.clear();
      barrier.complete.join(barrier.filling);
      barrier.filling.clear();
      barrier.signal.raise();
    } else {
      thread.yield();
      static const std::string what = "barrier 0";
      thread.wait(sync, barrier.signal, seen, what);
    }
    barrier.complete.acquire(thread.warp());
  }
};

/// Address of the CTA's word `index` in the shared window.
inline u32 word(u32 index) { return SharedMemory::first_address + index * 4; }
inline void put(Thread &thread, u32 index, u32 value) {
  *reinterpret_cast<u32 *>(thread.cta().shared().write(thread, store, word(index), 4, 4)) = value;
}
inline u32 get(Thread &thread, u32 index) {
  return *reinterpret_cast<const u32 *>(thread.cta().shared().read(thread, load, word(index), 4, 4));
}

} // namespace sale::emulator
