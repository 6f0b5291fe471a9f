// SPDX-License-Identifier: Apache-2.0
// Arguments of the channels kernel (which channels estimate); also compiled into the host library, so plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct ChannelsArgs {
  TensorArg q;           // [batch, num_q_heads, q_len, head_dim]
  TensorArg k;           // [batch, num_kv_heads, kv_len, head_dim]
  const float *kbar;     // [batch, num_kv_heads, head_dim]
  float *partial;        // [batch, num_kv_heads, splits, 2, head_dim]: energies of Q and of K
  unsigned int *arrived; // [batch, num_kv_heads], zero before the launch
  int *channels;         // [batch, num_kv_heads, estimate_dim], ascending; null = given by the caller
  const int *given;      // [num_kv_heads, estimate_dim]; null = chosen here
  float *weights;        // pruned: [batch, num_kv_heads, estimate_dim]; null = not wanted
  int num_q_heads;
  int num_kv_heads;
  int q_len;
  int kv_len;
  int splits;       // grid.x
  RaggedArg ragged; // ragged
  PagedArg paged;   // paged: k
};
