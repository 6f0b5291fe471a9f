// SPDX-License-Identifier: Apache-2.0
// Where the intermediate arrays of one call lie in the caller's workspace. Shapes as in templates/args/*.cuh; pieces
// that the estimator does not need are empty. Of ragged calls those that are indexed by query row or by key have no
// batch: [heads, rows of all sequences, ...] (Capacity).
#pragma once

#include "sale/types.hpp"

#include <cstddef>

namespace sale {

/// 256-byte aligned.
struct WorkspacePiece {
  std::size_t offset = 0;
  std::size_t bytes = 0;
};

/// How the mean kernel divides `len` tokens; a function of the length alone, so that a mean never depends on the
/// device.
struct MeanSplit {
  int splits = 0;
  int tokens_per_split = 0;
};
MeanSplit split_mean(int len);

struct WorkspaceLayout {
  WorkspacePiece counters;        ///< u32, zeroed before a call: see Counters.
  WorkspacePiece started;         ///< Counted: u64, when the call began
  WorkspacePiece sequences;       ///< Ragged: [batch] SequenceEntry
  WorkspacePiece sequence_counts; ///< Ragged: SequenceCounts
  WorkspacePiece row_units;       ///< Ragged: [slots] u32
  WorkspacePiece key_units;       ///< Ragged: [keys / 128] u32
  WorkspacePiece v_tails;         ///< Ragged: [batch, num_kv_heads, 32, head_dim] of 16 bits
  WorkspacePiece kbar_partial;    ///< [batch, num_kv_heads, splits, head_dim] fp32
  WorkspacePiece qbar_partial;    ///< [batch, num_q_heads, splits, head_dim] fp32
  WorkspacePiece kbar;            ///< [batch, num_kv_heads, head_dim] fp32
  WorkspacePiece qbar;            ///< [batch, num_q_heads, head_dim] fp32
  WorkspacePiece energy;          ///< fp8: [batch, num_kv_heads, splits, 2, head_dim] fp32
  WorkspacePiece channels;        ///< fp8: [batch, num_kv_heads, estimate_dim] s32
  WorkspacePiece weights;         ///< pruned: as channels, fp32
  WorkspacePiece k_codes;         ///< [batch, num_kv_heads, kv_len, code_row_bytes]; empty where they lie in pages
  WorkspacePiece k_scales;        ///< [batch, num_kv_heads, ceil(kv_len/32)], int4: times 4; fp8: padded to 4 words
  WorkspacePiece all_k_codes;     ///< fp8_attend, where k_codes are not of all channels: as k_codes, of head_dim bytes
  WorkspacePiece all_k_scales;    ///< beside them, as fp8's k_scales
  WorkspacePiece v_codes;         ///< fp8_attend: [batch, num_kv_heads, round_up(kv_len, 128), head_dim]
  WorkspacePiece kv_scales;       ///< fp8_attend: [batch, num_kv_heads, round_up(ceil(kv_len/32), 4), 4] u32
  WorkspacePiece bias;            ///< int4: [batch, num_q_heads, round_up(kv_len, 32)] fp32
  WorkspacePiece threshold;       ///< T: [batch, num_q_heads, q_padded] fp32
  WorkspacePiece theta;           ///< as threshold
  WorkspacePiece q_codes;         ///< [batch, num_q_heads, q_padded, code_row_bytes]
  WorkspacePiece q_scales;        ///< as threshold
  WorkspacePiece q_metadata;      ///< pruned: [batch, num_q_heads, q_padded / 64, estimate_dim / 64, 128] u32
  WorkspacePiece mask;            ///< mask_words u32
  std::size_t total = 0;          ///< bytes, a multiple of 256
};

/// Where each kernel's counters and maxima begin in WorkspaceLayout::counters, in words.
struct Counters {
  int keys;        ///< mean of K: [batch, num_kv_heads]
  int queries;     ///< int4, mean of Q: [batch, num_q_heads]
  int channels;    ///< fp8: [batch, num_kv_heads]
  int v_amax;      ///< fp8_attend, largest |v|: [batch, num_kv_heads]
  int select_item; ///< The persistent kernels': 1 each.
  int attend_item;
  int total;
};
Counters counters(const Problem &problem, const Policy &policy, int batch);

/// Runs of tokens whose energies one CTA sums; a function of the length alone.
int energy_splits(int kv_len);

inline constexpr std::size_t workspace_alignment = 256;

/// Rows per head of everything that is indexed by query row: round_up(q_len, 128).
int padded_q_len(int q_len);

/// u32 words of one row of the mask (docs/numerics.md, section 9).
int mask_row_words(const Policy &policy, int kv_len);

/// `code_row_bytes` is KernelSpec::code_row_bytes() of the plan's kernels.
WorkspaceLayout workspace_layout(const Problem &problem, const Policy &policy, const Shape &shape, int code_row_bytes,
                                 const Serving &serving = {});

} // namespace sale
