// SPDX-License-Identifier: Apache-2.0
// wgmma writes its accumulators after the asm statement, at a later wgmma.wait_group.
#pragma once

namespace llvm {
class Module;
} // namespace llvm

namespace sale::emulator {

class InstructionTable;

/// Before inlining: the accumulators of every wgmma stay variables in memory, hidden from the statement until the wait
/// (emulator/instructions/wgmma_registers.hpp).
void defer_wgmma_results(llvm::Module &module, InstructionTable &table);

} // namespace sale::emulator
