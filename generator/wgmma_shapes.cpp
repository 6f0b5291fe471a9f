// SPDX-License-Identifier: Apache-2.0
#include "generator/wgmma_shapes.hpp"

namespace sale {

std::vector<WgmmaShape> wgmma_shapes(const KernelSpec &spec) {
  if (spec.family() != KernelFamily::wgmma) {
    return {};
  }
  const int keys = spec.tile.keys_per_step;
  if (spec.stage == Stage::select) {
    // Q stays in registers.
    return {{.operand = WgmmaOperand::e4m3,
             .result = WgmmaResult::f16,
             .n = keys,
             .a_in_registers = true,
             .sparse = spec.prune_queries}};
  }
  const WgmmaOperand element = spec.dtype == DType::bf16 ? WgmmaOperand::bf16 : WgmmaOperand::f16;
  const WgmmaOperand operand = spec.fp8_attend ? WgmmaOperand::e4m3 : element;
  // S = Q·K, with Q in registers where they suffice; O += P·V with P in registers and 16-bit V as it lies, keys down its
  // columns.
  return {{.operand = operand, .n = keys, .a_in_registers = spec.head_dim <= 128},
          {.operand = operand, .n = spec.head_dim, .a_in_registers = true, .b_mn_major = !spec.fp8_attend}};
}

} // namespace sale
