// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/address.hpp"

#include "emulator/instructions/bank_accesses.hpp"
#include "emulator/machine/global_memory.hpp"

#include <algorithm>

namespace sale::emulator {

namespace {

u8 *not_shared(Thread &thread, const Instruction &instruction, Space space, u64 address, u32 bytes, u32 alignment,
               bool write) {
  auto *pointer = reinterpret_cast<u8 *>(address); // emulated device addresses are the host's own
  const bool local = space == Space::generic && address % alignment == 0 && thread.on_stack(pointer, bytes);
  if (!local) {
    check_global(thread, instruction, pointer, bytes, alignment, write);
  }
  return pointer;
}

} // namespace

Space space_of(const Instruction &instruction) {
  for (const std::string &part : instruction.parts) {
    if (part == "global") {
      return Space::global;
    }
    if (part == "shared" || part == "shared::cta" || part == "shared::cluster") {
      return Space::shared;
    }
  }
  return Space::generic;
}

bool is_shared(const Thread &thread, Space space, u64 address, u32 &shared_address) {
  if (space == Space::shared) {
    shared_address = static_cast<u32>(std::min<u64>(address, 0xffffffffU)); // beyond the window, so that it faults
    return true;
  }
  if (space == Space::global) {
    return false;
  }
  SharedMemory &shared = thread.cta().shared();
  const u64 offset = address - reinterpret_cast<u64>(shared.base());
  shared_address = SharedMemory::first_address + static_cast<u32>(offset);
  return offset < shared.bytes();
}

const u8 *readable(Thread &thread, const Instruction &instruction, Space space, u64 address, u32 bytes, u32 alignment) {
  u32 shared = 0;
  if (!is_shared(thread, space, address, shared)) {
    return not_shared(thread, instruction, space, address, bytes, alignment, false);
  }
  count_bank_access(thread, instruction, shared, bytes);
  return thread.cta().shared().read(thread, instruction, shared, bytes, alignment);
}

u8 *writable(Thread &thread, const Instruction &instruction, Space space, u64 address, u32 bytes, u32 alignment) {
  u32 shared = 0;
  if (!is_shared(thread, space, address, shared)) {
    return not_shared(thread, instruction, space, address, bytes, alignment, true);
  }
  count_bank_access(thread, instruction, shared, bytes);
  return thread.cta().shared().write(thread, instruction, shared, bytes, alignment);
}

u8 *updatable(Thread &thread, const Instruction &instruction, Space space, u64 address, u32 bytes, u32 alignment) {
  u32 shared = 0;
  if (!is_shared(thread, space, address, shared)) {
    return not_shared(thread, instruction, space, address, bytes, alignment, true);
  }
  count_bank_access(thread, instruction, shared, bytes);
  return thread.cta().shared().update(thread, instruction, shared, bytes, alignment);
}

} // namespace sale::emulator
