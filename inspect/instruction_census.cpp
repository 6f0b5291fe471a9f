// SPDX-License-Identifier: Apache-2.0
#include "inspect/instruction_census.hpp"

#include <array>

namespace sale {

namespace {

// Found by compiling one PTX instruction each (ptxas 13.0); names as nvdisasm prints them.
constexpr std::array<unsigned, 6> tensor_core_opcodes = {
    0x03c, // HMMA: mma.sync of f16, bf16 and tf32, dense and sparse; all architectures
    0x037, // IMMA: mma.sync of s8 and s4
    0x07a, // QMMA: mma.sync of e4m3 and e5m2, sm_89 and sm_120; elsewhere they become HMMA
    0x1f0, // HGMMA: wgmma of f16, bf16 and tf32, dense and sparse; sm_90a
    0x1f1, // IGMMA: wgmma of s8
    0x1f3, // QGMMA: wgmma of e4m3 and e5m2
};

} // namespace

InstructionCensus count_instructions(std::span<const unsigned char> code) {
  InstructionCensus census;
  for (std::size_t at = 0; at + instruction_bytes <= code.size(); at += instruction_bytes) {
    const unsigned low = code[at] | static_cast<unsigned>(code[at + 1]) << 8U;
    ++census[low & 0x1ffU];
  }
  return census;
}

int tensor_core_instructions(const InstructionCensus &census) {
  int count = 0;
  for (const unsigned opcode : tensor_core_opcodes) {
    const auto found = census.find(opcode);
    count += found == census.end() ? 0 : found->second;
  }
  return count;
}

} // namespace sale
