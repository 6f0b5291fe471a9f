// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/bank_accesses.hpp"

#include "emulator/machine/cta.hpp"

#include <array>
#include <unordered_map>

namespace sale::emulator {

namespace {

struct Gathered {
  std::array<u32, 32> addresses{};
  int count = 0;
  u32 lanes = 0;
};

struct BankAccesses : State {
  std::unordered_map<const Instruction *, Gathered> gathered;
};

} // namespace

void count_bank_access(Thread &thread, const Instruction &instruction, u32 address, u32 bytes) {
  Gathered &access = thread.warp().state<BankAccesses>().gathered[&instruction];
  const u32 lane = 1U << thread.lane();
  const auto count = [&] {
    thread.cta().shared().count_conflicts(instruction, access.addresses.data(), access.count, bytes);
    access.count = 0;
    access.lanes = 0;
  };
  if ((access.lanes & lane) != 0) {
    count();
  }
  access.addresses[static_cast<std::size_t>(access.count++)] = address;
  access.lanes |= lane;
  if (access.count == 32) {
    count();
  }
}

} // namespace sale::emulator
