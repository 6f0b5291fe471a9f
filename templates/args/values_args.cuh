// SPDX-License-Identifier: Apache-2.0
// Arguments of the values kernel (V to codes, for attend in fp8); also compiled into the host library, so plain types
// only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct ValuesArgs {
  TensorArg v;                  // [batch, num_kv_heads, kv_len, head_dim]
  const unsigned int *k_scales; // f16 pairs: [batch, num_kv_heads, blocks], blocks = round_up(ceil(kv_len/32), 4)
  const unsigned int *amax;     // [batch, num_kv_heads]: the fp32 bits of the largest |v|
  unsigned char *codes;         // [batch, num_kv_heads, blocks, head_dim, 32]: see values/values.cuh
  unsigned int *scales;         // [batch, num_kv_heads, blocks, 4]: an f16 pair of 2^-xk (1 past the last key), 0, 0, 0
  int num_kv_heads;
  int kv_len;
  RaggedArg ragged; // ragged
  PagedArg paged;   // paged
};
