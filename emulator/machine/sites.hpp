// SPDX-License-Identifier: Apache-2.0
// A small number for every instruction that a worker meets, and what is counted by it.
#pragma once

#include "emulator/machine/launch.hpp"

#include <array>
#include <unordered_map>
#include <vector>

namespace sale::emulator {

class Sites {
public:
  using Number = u16; ///< 0: none

  Number number(const Instruction &instruction) {
    const Cached &cached = cache_[slot(instruction)];
    return cached.instruction == &instruction ? cached.number : look_up(instruction);
  }
  /// Null for 0.
  const Instruction *instruction(Number number) const { return sites_[number].instruction; }

  void count_executed(const Instruction &instruction) { ++sites_[number(instruction)].executed; }
  void count_access(const Instruction &instruction, u64 conflicts);
  void add_to(Statistics &statistics) const;

private:
  struct Cached {
    const Instruction *instruction = nullptr;
    Number number = 0;
  };
  struct Site {
    const Instruction *instruction = nullptr;
    u64 executed = 0;
    u64 accesses = 0;
    u64 conflicts = 0;
  };

  static std::size_t slot(const Instruction &instruction) {
    return reinterpret_cast<std::uintptr_t>(&instruction) / sizeof(Instruction) % 512;
  }
  Number look_up(const Instruction &instruction);

  std::array<Cached, 512> cache_{};
  std::unordered_map<const Instruction *, Number> numbers_;
  std::vector<Site> sites_{Site{}};
};

} // namespace sale::emulator
