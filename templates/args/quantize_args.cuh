// SPDX-License-Identifier: Apache-2.0
// Arguments of the quantize kernel (K to integer codes); also compiled into the host library, so plain types only.
#pragma once

#include "common/tensor.cuh"

struct QuantizeArgs {
  TensorArg k;          // [batch, num_kv_heads, kv_len, head_dim]
  const float *kbar;    // [batch, num_kv_heads, head_dim]
  const float *qbar;    // int4: [batch, num_q_heads, head_dim]
  unsigned char *codes; // [batch, num_kv_heads, kv_len, code_row_bytes]
  float *scales;        // int8: [batch, num_kv_heads, ceil(kv_len/32)]; int4: [batch, num_kv_heads, ceil(kv_len/32), 4]
  float *bias;          // int4: [batch, num_q_heads, round_up(kv_len, 32)]
  int num_kv_heads;
  int kv_len;
};
