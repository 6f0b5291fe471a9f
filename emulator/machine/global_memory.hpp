// SPDX-License-Identifier: Apache-2.0
// The device memory of the emulated GPU: host allocations with bounds. An address is the host's own.
#pragma once

#include "emulator/machine/thread.hpp"

#include <cstddef>

namespace sale::emulator {

/// Allocates at 512-byte alignment with guard zones around it; poisoned with 0xff (NaN in every float type). Null when
/// the host has no more.
void *allocate_global(std::size_t bytes);
/// False when it was not the start of an allocation.
bool free_global(void *address);
/// Whether [address, address + bytes) lies within one allocation.
bool is_global(const void *address, std::size_t bytes);
/// is_global and natural alignment, else a fault that says what the address is near.
void check_global(Thread &thread, const Instruction &instruction, const void *address, std::size_t bytes,
                  std::size_t alignment, bool write);

} // namespace sale::emulator
