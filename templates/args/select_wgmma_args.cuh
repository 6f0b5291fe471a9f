// SPDX-License-Identifier: Apache-2.0
// Arguments of the wgmma select kernel (fp8 or int8 estimates to mask bits); also compiled into the host library, so
// plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor_map.cuh"

struct SelectWgmmaArgs {
  TensorMap k_codes; // bytes [batch * num_kv_heads, kv_len, code_row_bytes]; a box is keys_per_step rows of 128, 64 or
                     // 32 bytes, the most that divides code_row_bytes, swizzled by as much
  const unsigned char *q_codes; // [batch, num_q_heads, q_padded, code_row_bytes]; pruned: half as wide
  const unsigned int
      *q_metadata;              // pruned: [batch, num_q_heads, q_padded / 64, estimate_dim / 64, 128], a word a thread
  const unsigned int *k_scales; // fp8: f16 pairs [batch, num_kv_heads, round_up(ceil(kv_len/32), 4)]; int8: fp32
                                // [batch, num_kv_heads, ceil(kv_len/32)]
  const float *theta;           // [batch, num_q_heads, q_padded], q_padded = round_up(q_len, 128)
  const float *tau;             // [num_q_heads]; 0 keeps every visible block
  unsigned int *mask;           // [batch, num_q_heads, q_blocks, mask_words]
  unsigned int *next_item; // zero before the launch; CTAs draw their work from it. Null = CTA i takes i, i + grid, ..
  int batch;
  int num_q_heads;
  int q_len;
  int kv_len;
  int sink;
  int window;
  int mask_words;
  int sliding_window; // sliding
  RaggedArg ragged;   // ragged: k_codes is [num_kv_heads * kv_rows, code_row_bytes]
  PagedArg paged;     // coded_pages: k_codes is [num_pages, num_kv_heads, page_size, code_row_bytes]
};
