// SPDX-License-Identifier: Apache-2.0
// Arguments of the attend kernel; also compiled into the host library, so plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct AttendArgs {
  TensorArg q;              // [batch, num_q_heads, q_len, head_dim]
  TensorArg k;              // [batch, num_kv_heads, kv_len, head_dim]
  TensorArg v;              // [batch, num_kv_heads, kv_len, head_dim]
  TensorArg out;            // as q
  float *lse;               // [batch, num_q_heads, q_len]; null = not wanted
  const unsigned int *mask; // [batch, num_q_heads, q_blocks, mask_words]; unused by the dense kernel
  int num_q_heads;
  int q_len;
  int kv_len;
  int mask_words;
  float softmax_scale;
  int sliding_window;       // sliding
  float softcap;            // softcap: in nats
  const float *sink_logits; // sink_logits: [num_q_heads], nats
  RaggedArg ragged;         // ragged
  PagedArg paged;           // paged
};
