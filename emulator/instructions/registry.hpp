// SPDX-License-Identifier: Apache-2.0
// Which handler executes which PTX instruction.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// By opcode and qualifiers; null when the emulator does not know the instruction. Plain arithmetic, moves, predicates
/// and branches are not here: emulator/jit/ translates them to machine code.
Handler find_handler(const Instruction &instruction);

} // namespace sale::emulator
