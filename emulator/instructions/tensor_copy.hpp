// SPDX-License-Identifier: Apache-2.0
// cp.async.bulk.tensor: boxes of a tensor between global and shared memory, swizzled, bounds by the tensor map.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_tensor_copy(const Instruction &instruction);

} // namespace sale::emulator
