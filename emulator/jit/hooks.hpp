// SPDX-License-Identifier: Apache-2.0
// What compiled kernels call.
#pragma once

#include "emulator/ptx/instruction.hpp"

extern "C" {
/// One instruction by its handler, for the current thread.
void sale_emulator_execute(const sale::emulator::Instruction *instruction, std::uint64_t *slot);
/// A plain load or store of the source; `instruction` says where.
void sale_emulator_access(const sale::emulator::Instruction *instruction, const void *address, std::uint64_t bytes,
                          bool write);
/// Generic address of the CTA's dynamic shared memory.
void *sale_emulator_shared();
}
