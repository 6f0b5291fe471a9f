// SPDX-License-Identifier: Apache-2.0
// mma.sync: m16n8 products of 16 or 32 bytes of k, every element type that the templates use or may use.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_mma_sync(const Instruction &instruction);

} // namespace sale::emulator
