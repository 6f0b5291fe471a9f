// SPDX-License-Identifier: Apache-2.0
// Arguments of the merge kernel (two parts of one attention to the whole); also compiled into the host library, so
// plain types only.
#pragma once

#include "common/tensor.cuh"

// Rows of one CTA: the grid is (ceil(q_len / merge_rows), num_q_heads, batch).
inline constexpr int merge_rows = 32;

struct MergeRowsArgs {
  TensorArg out_a; // [batch, num_q_heads, q_len, head_dim]
  TensorArg out_b;
  TensorArg out;      // may be out_a or out_b; null data = lse alone is merged
  const float *lse_a; // [batch, num_q_heads, q_len], nats
  const float *lse_b;
  float *lse; // may be lse_a or lse_b
  int num_q_heads;
  int q_len;
};
