// SPDX-License-Identifier: Apache-2.0
// Bank conflicts of accesses that the lanes of a warp make one by one.
#pragma once

#include "emulator/machine/thread.hpp"

namespace sale::emulator {

/// The lanes do not wait for each other: an access is counted once all 32 have made it, or one makes it again.
void count_bank_access(Thread &thread, const Instruction &instruction, u32 address, u32 bytes);

} // namespace sale::emulator
