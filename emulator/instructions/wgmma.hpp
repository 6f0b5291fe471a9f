// SPDX-License-Identifier: Apache-2.0
// wgmma: a warpgroup's products of matrices in shared memory, and their groups.
//
// Everything that the hardware may still be reading or writing is held until the wgmma.wait_group that covers it: an
// early write to an operand in shared memory faults, and accumulators are hidden (wgmma_registers.hpp).
#pragma once

#include "emulator/machine/thread.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_wgmma(const Instruction &instruction);

/// Number of the group that the warp's next wgmma belongs to, counted from 0.
u64 open_group(const Thread &thread);

} // namespace sale::emulator
