// SPDX-License-Identifier: Apache-2.0
// From an address in a register to checked bytes.
#pragma once

#include "emulator/machine/cta.hpp"

namespace sale::emulator {

enum class Space { generic, global, shared };

/// The state space that the opcode names.
Space space_of(const Instruction &instruction);

/// A shared-window address: of a pointer into the CTA's shared memory, or as it stands for Space::shared. False for
/// global memory.
bool is_shared(const Thread &thread, Space space, u64 address, u32 &shared_address);

/// The bytes to read, to write or to do both with, after all checks; a fault otherwise. Shared accesses are counted for
/// bank conflicts.
const u8 *readable(Thread &thread, const Instruction &instruction, Space space, u64 address, u32 bytes, u32 alignment);
u8 *writable(Thread &thread, const Instruction &instruction, Space space, u64 address, u32 bytes, u32 alignment);
u8 *updatable(Thread &thread, const Instruction &instruction, Space space, u64 address, u32 bytes, u32 alignment);

} // namespace sale::emulator
