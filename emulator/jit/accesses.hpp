// SPDX-License-Identifier: Apache-2.0
// Bounds checks before the plain loads and stores of the source.
#pragma once

namespace llvm {
class Module;
} // namespace llvm

namespace sale::emulator {

class InstructionTable;

/// A call of sale_emulator_access before every access that may leave the thread's own memory and constants.
void check_accesses(llvm::Module &module, InstructionTable &table);

} // namespace sale::emulator
