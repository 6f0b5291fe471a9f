// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/barrier.hpp"

#include "emulator/machine/cta.hpp"

#include <fmt/format.h>

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

/// One of the sixteen, in its current phase.
struct Barrier {
  Phase phase;
  u32 arrived = 0;
  u32 holding = 0; ///< Those of them whose predicate held.
  std::vector<Waiter> waiters;
  std::array<const Instruction *, warps_per_cta> by_warp{}; ///< At which instruction each warp is.
  std::string name;                                         ///< For a deadlock report.
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
    by_warp = {};
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

  std::string left_behind() const override {
    for (u32 id = 0; id < barriers_per_cta; ++id) {
      if (all[id].arrived > 0) {
        return fmt::format("Barrier {} was left with {} of {} threads arrived", id, all[id].arrived,
                           all[id].phase.expected);
      }
    }
    return {};
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
  const Instruction *&first = barrier.by_warp[thread.warp().index()];
  first = first == nullptr ? &instruction : first;
  if (first != &instruction && (first->parts[0] == "bar" || first->has("aligned"))) {
    fault(thread, instruction,
          fmt::format("lanes of one warp meet barrier {} at different instructions; others are at {}", id,
                      first->describe()));
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
