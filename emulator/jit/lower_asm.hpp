// SPDX-License-Identifier: Apache-2.0
// asm statements to IR: arithmetic as such, labels and guards as control flow, every other instruction as a call of
// its handler.
#pragma once

namespace llvm {
class Module;
} // namespace llvm

namespace sale::emulator {

class InstructionTable;

/// Throws Error(compile) that quotes the instruction and names its line.
void lower_asm(llvm::Module &module, InstructionTable &table);

} // namespace sale::emulator
