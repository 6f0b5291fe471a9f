// SPDX-License-Identifier: Apache-2.0
// Arguments of the amax kernel; also compiled into the host library, so plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct AmaxArgs {
  TensorArg x; // [batch, heads, len, head_dim]
  unsigned int
      *amax; // [batch, heads], zero before the launch: the fp32 bits of the largest |x|, a NaN's if there is one
  int heads;
  int len;
  int tokens_per_split; // grid.x = ceil(len / tokens_per_split); split i has tokens [i * tokens_per_split, ...)
  RaggedArg ragged;     // ragged
  PagedArg paged;       // paged
};
