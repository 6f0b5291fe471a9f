// SPDX-License-Identifier: Apache-2.0
// Device IR (nvptx64) to IR for this machine, asm statements aside.
#pragma once

#include <string>
#include <vector>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace sale::emulator {

/// Kernels become functions void(void **params) of the same name, in one address space; returns their names. Throws
/// Error(compile) on what the emulator does not have.
std::vector<std::string> retarget(llvm::Module &module, const llvm::TargetMachine &machine);

/// After inlining: dynamic shared memory becomes a call of sale_emulator_shared, and nothing may be left that this
/// machine does not know.
void resolve_shared_memory(llvm::Module &module);

} // namespace sale::emulator
