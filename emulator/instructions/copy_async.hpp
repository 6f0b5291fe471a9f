// SPDX-License-Identifier: Apache-2.0
// cp.async: copies of 4, 8 or 16 bytes into shared memory, which land at the wait that covers them and no sooner.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_copy_async(const Instruction &instruction);

} // namespace sale::emulator
