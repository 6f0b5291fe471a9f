// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/collectives.hpp"

#include "emulator/machine/cta.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <type_traits>

namespace sale::emulator {

namespace {

bool in_mask(u32 mask, u32 lane) { return (mask >> (lane & 31U) & 1U) != 0; }

/// execute(lanes) once for the lanes of the member mask, the instruction's last operand.
template <class Execute>
void gather(Thread &thread, const Instruction &instruction, u64 *slot, const Execute &execute) {
  const auto mask = static_cast<u32>(slot[instruction.operands.back().slot]);
  if (!in_mask(mask, thread.lane())) {
    fault(thread, instruction,
          fmt::format("lane {} is not in the member mask {:#010x} that it gives", thread.lane(), mask));
  }
  thread.warp().collective(thread, instruction, slot, [&](const LaneSlots &lanes) { execute(lanes, mask); }, mask);
}

template <class Visit>
void for_each_lane(u32 mask, const Visit &visit) {
  for (; mask != 0; mask &= mask - 1) {
    visit(static_cast<u32>(std::countr_zero(mask)));
  }
}

enum class Shuffle { index, up, down, butterfly };

/// Where a lane's value comes from, and whether that is within its segment (else it is its own).
struct Source {
  u32 lane;
  bool within;
};

template <Shuffle mode>
Source shuffle_source(u32 lane, u32 b, u32 c) {
  const u32 segment = (c >> 8U) & 31U;
  const u32 clamp = c & 31U;
  const s32 greatest = static_cast<s32>((lane & segment) | (clamp & ~segment));
  const u32 distance = b & 31U;
  const auto signed_lane = static_cast<s32>(lane);
  s32 from = 0;
  bool within = false;
  if constexpr (mode == Shuffle::up) {
    from = signed_lane - static_cast<s32>(distance);
    within = from >= greatest;
  } else {
    if constexpr (mode == Shuffle::down) {
      from = signed_lane + static_cast<s32>(distance);
    } else if constexpr (mode == Shuffle::butterfly) {
      from = static_cast<s32>(lane ^ distance);
    } else {
      from = static_cast<s32>((lane & segment) | (distance & ~segment));
    }
    within = from <= greatest;
  }
  return {within ? static_cast<u32>(from) : lane, within};
}

/// shfl.sync.mode.b32 d(|p), a, b, c, mask
template <Shuffle mode>
void shuffle(Thread &thread, const Instruction &instruction, u64 *slot) {
  gather(thread, instruction, slot, [&](const LaneSlots &lanes, u32 mask) {
    const auto operand = [&](u32 lane, int i) { return static_cast<u32>(lanes[lane][instruction.operand(i).slot]); };
    std::array<u32, 32> values{};
    for_each_lane(mask, [&](u32 lane) { values[lane] = operand(lane, 1); });
    for_each_lane(mask, [&](u32 lane) {
      const Source source = shuffle_source<mode>(lane, operand(lane, 2), operand(lane, 3));
      if (!in_mask(mask, source.lane)) {
        fault(thread, instruction,
              fmt::format("lane {} takes the value of lane {}, which is not in the member mask {:#010x}", lane,
                          source.lane, mask));
      }
      const Operand &result = instruction.operand(0);
      lanes[lane][result.slot] = values[source.lane];
      if (result.count == 2) {
        lanes[lane][result.slot + 1] = source.within ? 1 : 0;
      }
    });
  });
}

/// The members whose operand 1, a predicate, holds.
u32 ballot_of(const Instruction &instruction, const LaneSlots &lanes, u32 mask) {
  u32 ballot = 0;
  for_each_lane(mask, [&](u32 lane) { ballot |= lanes[lane][instruction.operand(1).slot] != 0 ? 1U << lane : 0; });
  return ballot;
}

void set_all(const Instruction &instruction, const LaneSlots &lanes, u32 mask, u64 value) {
  for_each_lane(mask, [&](u32 lane) { lanes[lane][instruction.operand(0).slot] = value; });
}

enum class Vote { ballot, any, all, uniform };

/// vote.sync.mode d, p, mask
template <Vote mode>
void vote(Thread &thread, const Instruction &instruction, u64 *slot) {
  gather(thread, instruction, slot, [&](const LaneSlots &lanes, u32 mask) {
    const u32 ballot = ballot_of(instruction, lanes, mask);
    switch (mode) {
    case Vote::ballot: return set_all(instruction, lanes, mask, ballot);
    case Vote::any: return set_all(instruction, lanes, mask, ballot != 0 ? 1 : 0);
    case Vote::all: return set_all(instruction, lanes, mask, ballot == mask ? 1 : 0);
    case Vote::uniform: return set_all(instruction, lanes, mask, ballot == 0 || ballot == mask ? 1 : 0);
    }
  });
}

/// match.any.sync d, a, mask: who has my value. match.all.sync d|p, a, mask: the mask if all have one value, else 0.
template <bool all, class T>
void match(Thread &thread, const Instruction &instruction, u64 *slot) {
  gather(thread, instruction, slot, [&](const LaneSlots &lanes, u32 mask) {
    const Operand &result = instruction.operand(0);
    const auto equal_to = [&](u32 lane) {
      const auto value = [&](u32 of) { return static_cast<T>(lanes[of][instruction.operand(1).slot]); };
      u32 equal = 0;
      for_each_lane(mask, [&](u32 other) { equal |= value(other) == value(lane) ? 1U << other : 0; });
      return equal;
    };
    std::array<u32, 32> equal{};
    for_each_lane(mask, [&](u32 lane) { equal[lane] = equal_to(lane); });
    for_each_lane(mask, [&](u32 lane) {
      const bool same = equal[lane] == mask;
      lanes[lane][result.slot] = !all || same ? equal[lane] : 0;
      if (result.count == 2) {
        lanes[lane][result.slot + 1] = same ? 1 : 0;
      }
    });
  });
}

/// redux.sync.op.type d, a, mask
template <class Operation>
void reduce(Thread &thread, const Instruction &instruction, u64 *slot) {
  gather(thread, instruction, slot, [&](const LaneSlots &lanes, u32 mask) {
    const auto value = [&](u32 lane) { return static_cast<u32>(lanes[lane][instruction.operand(1).slot]); };
    const auto first = static_cast<u32>(std::countr_zero(mask));
    u32 sum = value(first);
    for_each_lane(mask & (mask - 1), [&](u32 lane) { sum = Operation::apply(sum, value(lane)); });
    set_all(instruction, lanes, mask, sum);
  });
}

struct Add {
  static u32 apply(u32 a, u32 b) { return a + b; }
};
struct And {
  static u32 apply(u32 a, u32 b) { return a & b; }
};
struct Or {
  static u32 apply(u32 a, u32 b) { return a | b; }
};
struct Xor {
  static u32 apply(u32 a, u32 b) { return a ^ b; }
};
template <class T>
struct Min {
  static u32 apply(u32 a, u32 b) { return static_cast<u32>(std::min(static_cast<T>(a), static_cast<T>(b))); }
};
template <class T>
struct Max {
  static u32 apply(u32 a, u32 b) { return static_cast<u32>(std::max(static_cast<T>(a), static_cast<T>(b))); }
};

/// elect.sync d|p, mask: the lowest member.
void elect(Thread &thread, const Instruction &instruction, u64 *slot) {
  gather(thread, instruction, slot, [&](const LaneSlots &lanes, u32 mask) {
    const auto leader = static_cast<u32>(std::countr_zero(mask));
    const Operand &result = instruction.operand(0);
    for_each_lane(mask, [&](u32 lane) {
      lanes[lane][result.slot] = leader;
      lanes[lane][result.slot + 1] = lane == leader ? 1 : 0;
    });
  });
}

void sync_warp(Thread &thread, const Instruction &instruction, u64 *slot) {
  gather(thread, instruction, slot, [](const LaneSlots & /*lanes*/, u32 /*mask*/) {});
}

/// Lanes need not be converged unless something makes them: here each runs alone.
void active_mask(Thread &thread, const Instruction &instruction, u64 *slot) {
  slot[instruction.operand(0).slot] = 1U << thread.lane();
}

Handler find_shuffle(const Instruction &instruction) {
  const std::string &mode = instruction.parts[2];
  return mode == "idx"    ? shuffle<Shuffle::index>
         : mode == "up"   ? shuffle<Shuffle::up>
         : mode == "down" ? shuffle<Shuffle::down>
         : mode == "bfly" ? shuffle<Shuffle::butterfly>
                          : nullptr;
}

Handler find_vote(const Instruction &instruction) {
  const std::string &mode = instruction.parts[2];
  return mode == "ballot" ? vote<Vote::ballot>
         : mode == "any"  ? vote<Vote::any>
         : mode == "all"  ? vote<Vote::all>
         : mode == "uni"  ? vote<Vote::uniform>
                          : nullptr;
}

Handler find_match(const Instruction &instruction) {
  const bool all = instruction.parts[1] == "all";
  if (instruction.parts.back() == "b64") {
    return all ? match<true, u64> : match<false, u64>;
  }
  return all ? match<true, u32> : match<false, u32>;
}

Handler find_reduce(const Instruction &instruction) {
  const std::string &operation = instruction.parts[2];
  const std::string &type = instruction.parts.back();
  const bool is_signed = type == "s32";
  if (!is_signed && type != "u32" && type != "b32") {
    return nullptr;
  }
  return operation == "add"   ? reduce<Add>
         : operation == "and" ? reduce<And>
         : operation == "or"  ? reduce<Or>
         : operation == "xor" ? reduce<Xor>
         : operation == "min" ? (is_signed ? reduce<Min<s32>> : reduce<Min<u32>>)
         : operation == "max" ? (is_signed ? reduce<Max<s32>> : reduce<Max<u32>>)
                              : nullptr;
}

} // namespace

Handler find_collectives(const Instruction &instruction) {
  const std::string &opcode = instruction.parts[0];
  if (opcode == "activemask") {
    return active_mask;
  }
  if (!instruction.has("sync")) {
    return nullptr; // the forms without a member mask are gone since sm_70
  }
  if (opcode == "elect") {
    return elect;
  }
  if (opcode == "bar" && instruction.has("warp")) {
    return sync_warp;
  }
  if (instruction.parts.size() < 4) {
    return nullptr;
  }
  return opcode == "shfl"    ? find_shuffle(instruction)
         : opcode == "vote"  ? find_vote(instruction)
         : opcode == "match" ? find_match(instruction)
         : opcode == "redux" ? find_reduce(instruction)
                             : nullptr;
}

} // namespace sale::emulator
