// SPDX-License-Identifier: Apache-2.0
// Arguments of the sequences kernel (lengths in device memory to entries and a schedule); also compiled into the host
// library, so plain types only.
#pragma once

#include "args/ragged_arg.cuh"

struct SequencesArgs {
  const int *cu_q;          // [batch + 1]; null unless q is packed
  const int *cu_kv;         // [batch + 1]; null unless k and v are packed
  const int *q_lens;        // [batch]; null = from cu_q, or q_len
  const int *kv_lens;       // [batch]; null = from cu_kv, or kv_len
  const int *q_positions;   // [batch]; null = kv_len - q_len of the sequence
  const int *key_offsets;   // [batch]; null = 0
  const int *coded_lens;    // [batch]; null = kv_len - q_len of the sequence
  SequenceEntry *sequences; // [batch]
  SequenceCounts *counts;
  unsigned int *row_units; // [slots]
  unsigned int *key_units; // [kv_rows / 128]
  int batch;               // at most 4096
  int q_len;               // the most that any sequence has
  int kv_len;              // the same
  int total_q;             // 0 = padded
  int total_kv;            // 0 = padded or paged
  int num_q_heads;
  int block_q;
  int q_rows;
  int kv_rows;
  int slots;
  int causal;
  int sliding_window; // 0 = none
};
