// SPDX-License-Identifier: Apache-2.0
// Arguments of the quantize kernel (K to codes); also compiled into the host library, so plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct QuantizeArgs {
  TensorArg k;          // [batch, num_kv_heads, kv_len, head_dim]
  const float *kbar;    // [batch, num_kv_heads, head_dim]
  const float *qbar;    // int4: [batch, num_q_heads, head_dim]
  unsigned char *codes; // [batch, num_kv_heads, kv_len, code_row_bytes]
  float *scales;       // int8: [batch, num_kv_heads, ceil(kv_len/32)]; int4: [batch, num_kv_heads, ceil(kv_len/32), 4];
                       // fp8: f16 pairs [batch, num_kv_heads, round_up(ceil(kv_len/32), 4)]
  float *bias;         // int4: [batch, num_q_heads, round_up(kv_len, 32)]
  const int *channels; // fp8, gathered: [num_kv_heads, estimate_dim] for each batch element
  long long channels_stride; // from one batch element's to the next's; 0 = they share them
  const float *projection;   // fp8, projected: [num_kv_heads, 2, estimate_dim, head_dim]
  int num_kv_heads;
  int kv_len;
  RaggedArg ragged; // ragged
  PagedArg paged;   // paged
};
