// SPDX-License-Identifier: Apache-2.0
// Arguments of the mean kernel; also compiled into the host library, so plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct MeanArgs {
  TensorArg x;           // [batch, heads, len, head_dim]
  float *mean;           // [batch, heads, head_dim]
  float *partial;        // [batch, heads, splits, head_dim]
  unsigned int *arrived; // [batch, heads], zero before the launch
  int heads;
  int len;
  int splits; // grid.x; split i sums tokens [i * tokens_per_split, ...)
  int tokens_per_split;
  int of_queries;   // ragged: x is Q, not K
  RaggedArg ragged; // ragged
  PagedArg paged;   // paged, unless x is Q
};
