// SPDX-License-Identifier: Apache-2.0
// Where the sequences of a ragged batch lie; also compiled into the host library, so plain types only. The sequences
// kernel writes it all at the start of each call, so that lengths are known on the device alone.
#pragma once

// Intermediates in the workspace have no batch dimension: a sequence's rows begin at a multiple of 128 of its own, and
// those of its last 128 that do not exist are its padding.
struct SequenceEntry {
  int q_len;
  int kv_len;
  int position;       // of query row 0, among the keys; kv_len - q_len unless the caller says another
  int key_offset;     // of key 0 in the whole context; 0 unless the keys are a part of one
  int q_start;        // first row in packed q and out; 0 when padded
  int kv_start;       // first row in packed k and v; 0 when padded or paged
  int q_row;          // first row in what the workspace has of queries, a multiple of 128
  int kv_row;         // first key in what the workspace has of keys, a multiple of 128
  long long lse_row;  // first row of head 0 in lse
  long long mask_row; // first row of head 0 in the mask
  int coded_len;      // keys whose codes were in their pages before the call
  int unused[3];
};

struct SequenceCounts {
  int row_units; // in use
  int kv_tokens; // of all sequences
  int unused[2];
};

struct RaggedArg {
  const SequenceEntry *sequences; // [batch]
  const SequenceCounts *counts;
  const unsigned int *row_units; // [slots]: sequence << 16 | unit of 512 query rows, those with most visible keys first
  const unsigned int *key_units; // [kv_rows / 128]: the sequence whose keys lie there; ~0 = nobody's
  long long lse_stride;          // rows of lse from head to head
  long long mask_stride;         // rows of the mask from head to head
  int q_rows;                    // rows of a head in what the workspace has of queries
  int kv_rows;                   // keys of a head in what the workspace has of keys
  int slots;                     // of row_units
  int q_batch;                   // 1: q and out are padded, [batch, heads, q_len, ..]; 0: packed, [heads, total_q, ..]
  int kv_batch;                  // the same of k and v; 0 where they are paged
  int kbar_stride;               // elements of kbar from sequence to sequence; 0 = they share it
  int dense_below;               // sequences with fewer keys keep all of their blocks
};
