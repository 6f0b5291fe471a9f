// SPDX-License-Identifier: Apache-2.0
// What the lanes of a warp do together: shfl, vote, match, redux, elect, activemask, bar.warp.sync.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_collectives(const Instruction &instruction);

} // namespace sale::emulator
