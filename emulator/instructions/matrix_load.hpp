// SPDX-License-Identifier: Apache-2.0
// ldmatrix and stmatrix of 8x8 tiles of 16-bit elements.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_matrix_load(const Instruction &instruction);

} // namespace sale::emulator
