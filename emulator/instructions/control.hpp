// SPDX-License-Identifier: Apache-2.0
// Instructions that compute nothing: setmaxnreg, griddepcontrol, nanosleep, trap.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_control(const Instruction &instruction);

} // namespace sale::emulator
