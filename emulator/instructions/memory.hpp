// SPDX-License-Identifier: Apache-2.0
// ld, st (global, shared, generic; scalars and vectors) and prefetch.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_memory(const Instruction &instruction);

} // namespace sale::emulator
