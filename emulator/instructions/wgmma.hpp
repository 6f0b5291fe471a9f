// SPDX-License-Identifier: Apache-2.0
// wgmma: a warpgroup's products of matrices in shared memory, and their groups.
//
// Results are there at once, but everything that the hardware may still be reading is held until the wgmma.wait_group
// that covers it: an early write to an operand faults.
#pragma once

#include "emulator/machine/thread.hpp"

#include <vector>

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_wgmma(const Instruction &instruction);

/// Groups of the thread's warp that were committed and not waited for, and one more when wgmmas are not committed.
u32 outstanding_groups(const Thread &thread);
/// The accumulators, as slots hold them, that the wgmmas of outstanding group `group` (0: the oldest) gave to the
/// thread, in order of issue: whoever reads a register of these is too early.
const std::vector<u32> &group_results(const Thread &thread, u32 group);

} // namespace sale::emulator
