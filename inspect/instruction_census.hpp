// SPDX-License-Identifier: Apache-2.0
// How often each instruction stands in a kernel's machine code, from the opcodes alone: no disassembler is needed.
#pragma once

#include <cstddef>
#include <map>
#include <span>

namespace sale {

/// Every instruction since sm_70 has this many bytes.
inline constexpr std::size_t instruction_bytes = 16;

/// Occurrences by opcode: the low 9 bits of an instruction; the 3 above them only say where the operands are.
using InstructionCensus = std::map<unsigned, int>;

InstructionCensus count_instructions(std::span<const unsigned char> code);

/// Matrix products on tensor cores, mma.sync as well as wgmma.
int tensor_core_instructions(const InstructionCensus &census);

} // namespace sale
