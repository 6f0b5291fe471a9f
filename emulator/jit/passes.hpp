// SPDX-License-Identifier: Apache-2.0
// The few LLVM passes that make the IR small without duplicating any of it.
#pragma once

namespace llvm {
class Module;
} // namespace llvm

namespace sale::emulator {

/// Everything inlined, locals in registers.
void inline_and_simplify(llvm::Module &module);
/// What the translation of asm statements left to fold.
void fold(llvm::Module &module);

} // namespace sale::emulator
