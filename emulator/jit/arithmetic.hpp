// SPDX-License-Identifier: Apache-2.0
// PTX instructions that become plain LLVM IR: arithmetic, comparisons, conversions, moves. By opcode; each function
// writes nothing and returns false when it does not know the variant.
#pragma once

#include "emulator/jit/emitter.hpp"

#include <map>
#include <string_view>

namespace sale::emulator {

/// False when the instruction is none of these.
bool emit_arithmetic(Emitter &emitter);

using Emission = bool (*)(Emitter &);
using EmissionTable = std::map<std::string_view, Emission>;

const EmissionTable &integer_arithmetic();
const EmissionTable &float_arithmetic();
const EmissionTable &conversions();
const EmissionTable &moves_and_comparisons();

/// Subnormals to zeros of their sign.
llvm::Value *flush_subnormals(Emitter &emitter, llvm::Value *x);
/// Any f32 NaN to the only one that arithmetic gives.
llvm::Value *canonical_nan(Emitter &emitter, llvm::Value *x);
/// Two 16-bit floats, or one, by functions.hpp; false when this variant is none.
bool emit_half(Emitter &emitter);

} // namespace sale::emulator
