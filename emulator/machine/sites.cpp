// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/sites.hpp"

#include <limits>

namespace sale::emulator {

namespace {

std::string opcode(const Instruction &instruction) {
  std::string name;
  for (std::size_t i = 0; i < instruction.parts.size() && i < 2; ++i) {
    name += (i == 0 ? "" : ".") + instruction.parts[i];
  }
  return name;
}

} // namespace

Sites::Number Sites::look_up(const Instruction &instruction) {
  const auto [found, added] = numbers_.try_emplace(&instruction, static_cast<Number>(sites_.size()));
  if (added) {
    if (sites_.size() > std::numeric_limits<Number>::max()) {
      found->second = 0;
    } else {
      sites_.push_back({.instruction = &instruction});
    }
  }
  cache_[slot(instruction)] = {&instruction, found->second};
  return found->second;
}

void Sites::count_access(const Instruction &instruction, u64 conflicts) {
  Site &site = sites_[number(instruction)];
  ++site.accesses;
  site.conflicts += conflicts;
}

void Sites::add_to(Statistics &statistics) const {
  for (const Site &site : sites_) {
    if (site.instruction == nullptr) {
      continue;
    }
    if (site.executed != 0) {
      statistics.warp_instructions[opcode(*site.instruction)] += site.executed;
    }
    if (site.accesses != 0) {
      auto &[accesses, conflicts] = statistics.bank_accesses[site.instruction->describe()];
      accesses += site.accesses;
      conflicts += site.conflicts;
    }
  }
}

} // namespace sale::emulator
