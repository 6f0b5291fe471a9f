// SPDX-License-Identifier: Apache-2.0
// The CTA's sixteen barriers: bar and barrier, with sync, arrive and red.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_barrier(const Instruction &instruction);

} // namespace sale::emulator
