// SPDX-License-Identifier: Apache-2.0
// Arguments of the count kernel (what a call kept and how long it took, for PlanCounters); also compiled into the host
// library, so plain types only.
#pragma once

#include "args/ragged_arg.cuh"

// Of all calls of a Plan that are done. In host memory; kernels add to it.
struct CountTotals {
  unsigned long long calls;
  unsigned long long kept_blocks;
  unsigned long long visible_blocks;
  unsigned long long nanoseconds;
};

struct CountArgs {
  const unsigned int *mask;    // null: every visible block was kept
  unsigned long long *started; // in the workspace: when the call began, nanoseconds
  CountTotals *totals;
  int begins; // 1: only writes `started`
  int batch;
  int num_q_heads;
  int q_len;
  int kv_len;
  int mask_words;     // u32 words of one row
  int sliding_window; // 0 = none
  RaggedArg ragged;
};
