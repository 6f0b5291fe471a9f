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
    const bool fp8 = spec.estimator == Estimator::fp8;
    return {{.operand = fp8 ? WgmmaOperand::e4m3 : WgmmaOperand::s8,
             .result = fp8 ? WgmmaResult::f16 : WgmmaResult::s32,
             .n = keys,
             .a_in_registers = true,
             .sparse = fp8 && spec.prune_queries}};
  }
  if (spec.fp8_attend) {
    // S = Q·K, with Q in registers where they suffice; P·V with V transposed, where registers are short 64 columns at a
    // time, and eight columns of ones.
    const bool narrow = spec.head_dim <= 128;
    return {{.operand = WgmmaOperand::e4m3, .result = WgmmaResult::f16, .n = keys, .a_in_registers = narrow},
            {.operand = WgmmaOperand::e4m3, .n = (narrow ? spec.head_dim : 64) + 8, .a_in_registers = true}};
  }
  const WgmmaOperand element = spec.dtype == DType::bf16 ? WgmmaOperand::bf16 : WgmmaOperand::f16;
  // S = Q·K, with Q in registers where they suffice; O += P·V with P in registers and 16-bit V as it lies, keys down
  // its columns.
  return {{.operand = element, .n = keys, .a_in_registers = spec.head_dim <= 128},
          {.operand = element, .n = spec.v_width(), .a_in_registers = true, .b_mn_major = true}};
}

} // namespace sale
