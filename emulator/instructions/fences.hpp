// SPDX-License-Identifier: Apache-2.0
// membar and fence: no-ops, because the emulator runs the threads of a CTA one at a time.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_fences(const Instruction &instruction);

} // namespace sale::emulator
