// SPDX-License-Identifier: Apache-2.0
// Arguments of the select kernel (estimates to mask bits); also compiled into the host library, so plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct SelectArgs {
  TensorArg q;                  // exact: [batch, num_q_heads, q_len, head_dim]
  TensorArg k;                  // exact: [batch, num_kv_heads, kv_len, head_dim]
  const unsigned char *q_codes; // int8, int4: [batch, num_q_heads, q_padded, code_row_bytes]
  const unsigned char *k_codes; // int8, int4: [batch, num_kv_heads, kv_len, code_row_bytes]
  const float *k_scales;        // int8: [batch, num_kv_heads, ceil(kv_len/32)]; int4: [.., ceil(kv_len/32), 4]
  const float *q_scale;         // int4: [batch, num_q_heads, q_padded]
  const float *bias;            // int4: [batch, num_q_heads, round_up(kv_len, 32)]
  const float *theta;           // [batch, num_q_heads, q_padded], q_padded = round_up(q_len, 128)
  const float *tau;             // [num_q_heads]; 0 keeps every visible block
  unsigned int *mask;           // [batch, num_q_heads, q_blocks, mask_words]
  int num_q_heads;
  int q_len;
  int kv_len;
  int sink;
  int window;
  int mask_words;
  int sliding_window; // sliding
  RaggedArg ragged;   // ragged
  PagedArg paged;     // paged: k of exact; coded_pages: k_codes
};
