// SPDX-License-Identifier: Apache-2.0
// Words of a mask row (docs/numerics.md, section 9).
#pragma once

#include "device/types.cuh"

// The bits of `word` that stand for blocks [0, end).
SALE_DEVICE u32 bits_below(s32 end, s32 word) {
  const s32 count = end - word * 32;
  return count <= 0 ? 0U : (count >= 32 ? ~0U : (1U << count) - 1U);
}

// The bits of `word` that stand for blocks [first, end).
SALE_DEVICE u32 bits_between(s32 first, s32 end, s32 word) { return bits_below(end, word) & ~bits_below(first, word); }
