// SPDX-License-Identifier: Apache-2.0
// atom and red on global and shared memory.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_atomics(const Instruction &instruction);

} // namespace sale::emulator
