// SPDX-License-Identifier: Apache-2.0
// Arguments of the prepare kernel (thresholds and quantized Q); also compiled into the host library, so plain types
// only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct PrepareArgs {
  TensorArg q;               // [batch, num_q_heads, q_len, head_dim]
  TensorArg k;               // [batch, num_kv_heads, kv_len, head_dim]
  const float *kbar;         // int8, int4, fp8: [batch, num_kv_heads, head_dim]
  const float *qbar;         // int4: [batch, num_q_heads, head_dim]
  const float *tau;          // [num_q_heads]
  const float *shift;        // [num_q_heads], nats; null = 0
  float *threshold;          // T: [batch, num_q_heads, q_padded], q_padded = round_up(q_len, 128)
  float *theta;              // as threshold
  unsigned char *q_codes;    // int8, int4, fp8: [batch, num_q_heads, q_padded, code_row_bytes]
  float *q_scale;            // int8, int4, fp8: as threshold
  const int *channels;       // fp8, gathered: [num_kv_heads, estimate_dim] for each batch element
  long long channels_stride; // from one batch element's to the next's; 0 = they share them
  const float *projection;   // fp8, projected: [num_kv_heads, 2, estimate_dim, head_dim]
  const float *weights;      // fp8, pruned: [batch, num_kv_heads, estimate_dim]
  unsigned int *q_metadata;  // fp8, pruned: see SelectWgmmaArgs
  int num_q_heads;
  int q_len;
  int kv_len;
  int sink;
  int window;
  float softmax_scale;
  int sliding_window;        // sliding
  float softcap;             // softcap: in nats
  const float *sink_logits;  // sink_logits: [num_q_heads], nats
  const float *threshold_in; // parts: ln(tau * sum of exp) of every row, as lse; null = find it
  float *threshold_out;      // parts: as threshold_in; null = not wanted
  RaggedArg ragged;          // ragged
  PagedArg paged;            // paged: k
};
