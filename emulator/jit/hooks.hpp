// SPDX-License-Identifier: Apache-2.0
// What compiled kernels call.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

enum class SpecialRegister : u32 {
  tid,
  ntid,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  lanemask_eq,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  globaltimer,
};

} // namespace sale::emulator

extern "C" {
/// Once per thread, first: local memory lies below `frame`.
void sale_emulator_enter(const void *frame);
/// One instruction by its handler, for the current thread.
void sale_emulator_execute(const sale::emulator::Instruction *instruction, std::uint64_t *slot);
/// A plain load or store of the source; `instruction` says where.
void sale_emulator_access(const sale::emulator::Instruction *instruction, const void *address, std::uint64_t bytes,
                          std::uint32_t alignment, bool write);
/// Around a wgmma: its accumulators before (emulator/instructions/wgmma_registers.hpp), and after.
void sale_emulator_reveal(const sale::emulator::Instruction *wgmma, std::uint32_t *const *registers,
                          std::uint32_t count);
void sale_emulator_hide(std::uint32_t *const *registers, std::uint32_t count);
/// Generic address of the CTA's dynamic shared memory.
void *sale_emulator_shared();
std::uint64_t sale_emulator_special(sale::emulator::SpecialRegister which);
}
