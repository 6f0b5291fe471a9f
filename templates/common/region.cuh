// SPDX-License-Identifier: Apache-2.0
// The reference region R of a query block (docs/numerics.md, section 1).
#pragma once

#include "device/types.cuh"

template <int block_q, int block_k>
struct Region {
  s32 first_estimated; // blocks [first_estimated, end_estimated) are estimated; every other visible block is in R
  s32 end_estimated;
  s32 visible; // number of visible blocks
  s32 visible_keys;

  SALE_DEVICE Region(s32 query_block, s32 q_len, s32 kv_len, s32 sink, s32 window) {
    const s32 p0 = kv_len - q_len + query_block * block_q;
    const s32 w0 = imax(0, p0 - window);
    visible_keys = imin(p0 + block_q, kv_len);
    visible = ceil_div(visible_keys, block_k);
    first_estimated = imin(ceil_div(sink, block_k), visible);
    end_estimated = imax(w0 / block_k, first_estimated);
  }
};
