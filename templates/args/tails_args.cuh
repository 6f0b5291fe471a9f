// SPDX-License-Identifier: Apache-2.0
// Arguments of the tails kernel (what lies in V past the last key must not reach a product); also compiled into the
// host library, so plain types only.
#pragma once

#include "args/paged_arg.cuh"
#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"

struct TailsArgs {
  TensorArg v;
  void *tails; // [batch, num_kv_heads, 32, head_dim]: the values from the last multiple of 32 keys on, then zeros
  int num_kv_heads;
  RaggedArg ragged;
  PagedArg paged;
};
