// SPDX-License-Identifier: Apache-2.0
// Arguments of the wgmma attend kernel that computes in e4m3; also compiled into the host library, so plain types only.
#pragma once

#include "args/attend_wgmma_args.cuh"

// k is of codes: bytes [batch * num_kv_heads, kv_len, head_dim]; a box is Config::keys_per_copy rows of 128 bytes, or
// 64 where head_dim is 64, swizzled by as much. v is unused.
struct AttendFp8Args : AttendWgmmaArgs {
  const unsigned char *v_codes; // [batch, num_kv_heads, blocks, head_dim, 32], blocks = round_up(ceil(kv_len/32), 4)
  const float *scales;          // [batch, num_kv_heads, blocks, 4]: see ValuesArgs
  const float *kbar;            // [batch, num_kv_heads, head_dim]: what K has lost; lse has it added
};
