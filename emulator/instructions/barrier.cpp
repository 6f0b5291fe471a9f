// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/barrier.hpp"

#include "emulator/machine/cta.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace sale::emulator {

namespace {

constexpr u32 barriers_per_cta = 16;
constexpr u32 warps_per_cta = 32;
constexpr u32 warp_threads = 32;

enum class Reduction { none, popc, all, any };

/// Who waits, and where the result of a reduction goes.
struct Waiter {
  Warp *warp = nullptr;
  u64 *result = nullptr;
};

/// What every arrival in a phase must agree on.
struct Phase {
  u32 expected = 0;       ///< Threads; 0: nobody has arrived yet.
  bool whole_cta = false; ///< No count was given: threads that have returned are not awaited.
  Reduction reduction = Reduction::none;
};

/// An aligned instruction that some lanes of a warp have executed, and the others are to execute next.
struct Step {
  const Instruction *instruction = nullptr;
  u32 lanes = 0;
};

/// One of the sixteen, in its current phase.
struct Barrier {
  Phase phase;
  u32 arrived = 0;
  u32 holding = 0; ///< Those of them whose predicate held.
  std::vector<Waiter> waiters;
  std::array<std::vector<Step>, warps_per_cta> steps; ///< Of each warp, in order; whatever the phase.
  std::string name;                                   ///< For a deadlock report.
  Synchronization released;
  Signal complete;

  u64 result() const {
    switch (phase.reduction) {
    case Reduction::popc: return holding;
    case Reduction::all: return holding == arrived ? 1 : 0;
    default: return holding > 0 ? 1 : 0;
    }
  }

  void finish() {
    const Warp *last = nullptr;
    for (const Waiter &waiter : waiters) {
      if (waiter.warp != last) {
        released.acquire(*waiter.warp);
        last = waiter.warp;
      }
      if (waiter.result != nullptr) {
        *waiter.result = result();
      }
    }
    phase = {};
    arrived = holding = 0;
    waiters.clear();
    released.clear();
    complete.raise();
  }
};

struct Barriers : State {
  std::array<Barrier, barriers_per_cta> all;

  void at_return(Thread &thread) override {
    for (Barrier &barrier : all) {
      if (barrier.phase.whole_cta && barrier.arrived > 0 && barrier.arrived == thread.cta().running()) {
        barrier.finish();
      }
    }
  }
};

/// The operands, by their place in the instruction; -1 where there is none.
struct Places {
  int id = 0;
  int count = -1;
  int result = -1;
  int predicate = -1;
};

template <bool waits, Reduction reduction>
Places places(const Instruction &instruction) {
  const auto operands = static_cast<int>(instruction.operands.size());
  if constexpr (reduction == Reduction::none) {
    return {.id = 0, .count = operands > 1 ? 1 : -1};
  } else {
    return {.id = 1, .count = operands > 3 ? 2 : -1, .result = 0, .predicate = operands - 1};
  }
}

u32 thread_count(Thread &thread, const Instruction &instruction, u64 given) {
  if (given == 0 || given % warp_threads != 0 || given > thread.cta().threads()) {
    fault(thread, instruction,
          fmt::format("a barrier of {} threads: it takes a multiple of {}, at most the CTA's {}", given, warp_threads,
                      thread.cta().threads()));
  }
  return static_cast<u32>(given);
}

/// The phase that this arrival opens or joins.
void join_phase(Thread &thread, const Instruction &instruction, Barrier &barrier, u64 id, const Phase &wanted) {
  Phase &phase = barrier.phase;
  if (phase.expected == 0) {
    phase = wanted;
    barrier.name = fmt::format("barrier {} of {} threads", id, wanted.expected);
  }
  if (phase.expected != wanted.expected) {
    fault(thread, instruction,
          fmt::format("barrier {} is to have {} threads, but those that have arrived gave {}", id, wanted.expected,
                      phase.expected));
  }
  if (phase.reduction != wanted.reduction) {
    fault(thread, instruction, fmt::format("barrier {} is used with and without a reduction, or with two", id));
  }
}

/// The lanes of a warp execute the same aligned instructions in the same order. It is not a meeting of lanes: a warp
/// may arrive twice in one phase, by bar.arrive and then bar.sync.
void check_aligned(Thread &thread, const Instruction &instruction, Barrier &barrier, u64 id) {
  if (instruction.parts[0] != "bar" && !instruction.has("aligned")) {
    return;
  }
  const Warp &warp = thread.warp();
  std::vector<Step> &steps = barrier.steps[warp.index()];
  const u32 self = 1U << thread.lane();
  auto step = std::find_if(steps.begin(), steps.end(), [&](const Step &each) { return (each.lanes & self) == 0; });
  if (step == steps.end()) {
    step = steps.insert(step, {.instruction = &instruction});
  }
  if (step->instruction != &instruction) {
    fault(thread, instruction,
          fmt::format("lanes of one warp meet barrier {} at different instructions; others are at {}", id,
                      step->instruction->describe()));
  }
  step->lanes |= self;
  const u32 running = warp.lanes() & ~warp.returned();
  while (!steps.empty() && (steps.front().lanes & running) == running) {
    steps.erase(steps.begin());
  }
}

template <bool waits, Reduction reduction>
void arrive(Thread &thread, const Instruction &instruction, u64 *slot) {
  const Places place = places<waits, reduction>(instruction);
  const auto value = [&](int i) { return slot[instruction.operand(i).slot]; };
  const u64 id = value(place.id);
  if (id >= barriers_per_cta) {
    fault(thread, instruction, fmt::format("barrier {}: a CTA has {}", id, barriers_per_cta));
  }
  Barrier &barrier = thread.cta().state<Barriers>().all[id];
  Phase wanted;
  wanted.whole_cta = place.count < 0;
  wanted.expected = wanted.whole_cta ? thread.cta().threads() : thread_count(thread, instruction, value(place.count));
  wanted.reduction = reduction;
  join_phase(thread, instruction, barrier, id, wanted);
  check_aligned(thread, instruction, barrier, id);

  ++barrier.arrived;
  barrier.released.release(thread.warp());
  if (place.predicate >= 0) {
    barrier.holding += value(place.predicate) != 0 ? 1 : 0;
  }
  if (waits) {
    barrier.waiters.push_back(
        {&thread.warp(), place.result >= 0 ? &slot[instruction.operand(place.result).slot] : nullptr});
  }
  const u64 seen = barrier.complete.generation();
  if (barrier.arrived == (wanted.whole_cta ? thread.cta().running() : wanted.expected)) {
    barrier.finish();
    thread.yield();
  } else if (waits) {
    thread.wait(instruction, barrier.complete, seen, barrier.name);
  } else {
    thread.yield();
  }
}

} // namespace

Handler find_barrier(const Instruction &instruction) {
  const std::string &opcode = instruction.parts[0];
  if ((opcode != "bar" && opcode != "barrier") || instruction.has("warp") || instruction.has("cluster")) {
    return nullptr;
  }
  if (instruction.has("sync")) {
    return arrive<true, Reduction::none>;
  }
  if (instruction.has("arrive")) {
    return instruction.operands.size() == 2 ? arrive<false, Reduction::none> : nullptr;
  }
  if (!instruction.has("red")) {
    return nullptr;
  }
  return instruction.has("popc")  ? arrive<true, Reduction::popc>
         : instruction.has("and") ? arrive<true, Reduction::all>
         : instruction.has("or")  ? arrive<true, Reduction::any>
                                  : nullptr;
}

} // namespace sale::emulator
