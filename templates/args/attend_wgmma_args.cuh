// SPDX-License-Identifier: Apache-2.0
// Arguments of the wgmma attend kernel; also compiled into the host library, so plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"
#include "common/tensor_map.cuh"

struct AttendWgmmaArgs {
  // [batch, heads, tokens, head_dim] of 16-bit elements, innermost first: boxes of 64 channels, swizzled by 128 bytes,
  // and 64 rows of q or Config::keys_per_copy rows of k and v. fp8: k is of codes, bytes [batch * num_kv_heads, kv_len,
  // head_dim], boxes of 128 (64 where there are no more) swizzled by as much; v is unused.
  TensorMap q;
  TensorMap k;
  TensorMap v;
  const unsigned char *v_codes; // fp8: as ValuesArgs::codes
  const unsigned int *scales;   // fp8: as ValuesArgs::scales
  const unsigned int *v_amax;   // fp8: [batch, num_kv_heads], fp32 bits of the largest |v|
  const float *kbar;            // fp8: [batch, num_kv_heads, head_dim], what the codes of K lack; lse has it added
  TensorArg out;                // [batch, num_q_heads, q_len, head_dim]
  float *lse;                   // [batch, num_q_heads, q_len]; null = not wanted
  const unsigned int *mask;     // [batch, num_q_heads, q_blocks, mask_words]; unused by the dense kernel
  const float *threshold;       // filtered: T, [batch, num_q_heads, q_padded]; null = filter nothing
  unsigned int *next_item; // zero before the launch; CTAs draw their work from it. Null = CTA i takes i, i + grid, ..
  int batch;
  int num_q_heads;
  int q_len;
  int kv_len;
  int mask_words;
  int sink; // sink and window tell R, which the filter spares
  int window;
  float softmax_scale;
  int sliding_window;       // sliding
  float softcap;            // softcap: in nats
  const float *sink_logits; // sink_logits: [num_q_heads], nats
  RaggedArg ragged;         // ragged
  PagedArg paged;           // paged: batch of k and v is a page
  TensorMap v_tail;         // ragged: TailsArgs::tails, boxes as those of v
};
