// SPDX-License-Identifier: Apache-2.0
// merge: the outputs of two parts of one attention to that of the whole, weighted by their shares of the sum of
// exponentials; or those sums alone.
#pragma once

#include "args/merge_args.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct MergeLayout {
  static constexpr int shared_bytes = 0;
};

// A row of both parts. One that saw nothing, its lse -inf, leaves the other as it is, bit for bit.
struct MergedRow {
  bool only_a;
  bool only_b;
  f32 weight_a;
  f32 weight_b;
  f32 lse;

  SALE_DEVICE MergedRow(f32 a, f32 b) : only_a(b == -infinity()), only_b(!only_a && a == -infinity()) {
    const f32 highest = max_nan(a, b);
    const f32 share_a = exp2_approx((a - highest) * log2_of_e());
    const f32 share_b = exp2_approx((b - highest) * log2_of_e());
    const f32 sum = share_a + share_b;
    weight_a = div_rn(share_a, sum);
    weight_b = div_rn(share_b, sum);
    const f32 both = highest + log2_approx(sum) * ln_of_2();
    lse = only_a ? a : (only_b ? b : both);
  }

  template <class Element>
  SALE_DEVICE u32 pair(u32 a, u32 b) const {
    const u32 both = Element::pack(weight_a * Element::low(a) + weight_b * Element::low(b),
                                   weight_a * Element::high(a) + weight_b * Element::high(b));
    return only_a ? a : (only_b ? b : both);
  }
};

template <class Config>
SALE_DEVICE void merge_outputs(const MergeRowsArgs &args, const MergedRow &merged, s64 batch, s32 head, s32 row,
                               u32 chunk) {
  const auto address = [&](const TensorArg &tensor) {
    return static_cast<u8 *>(tensor.data) +
           2 * (batch * tensor.stride_batch + head * tensor.stride_head + row * tensor.stride_token) + s64{16} * chunk;
  };
  Vec16 a = load_global_16(address(args.out_a));
  const Vec16 b = load_global_16(address(args.out_b));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    a.word[i] = merged.pair<typename Config::Element>(a.word[i], b.word[i]);
  }
  store_global_16(address(args.out), a);
}

// Grid: (ceil(q_len / merge_rows), num_q_heads, batch).
template <class Config>
SALE_DEVICE void merge(const MergeRowsArgs &args) {
  constexpr u32 chunks = Config::head_dim / 8; // of a row, 16 bytes each
  constexpr u32 lanes = chunks <= 8 ? 8 : (chunks <= 16 ? 16 : 32);
  constexpr s32 rows_at_once = Config::threads / lanes;
  static_assert(merge_rows % rows_at_once == 0, "whole rounds");
  const s32 head = static_cast<s32>(block_y());
  const s64 batch = block_z();
  const s32 first = static_cast<s32>(block_x()) * merge_rows + static_cast<s32>(thread_index() / lanes);
  const u32 chunk = thread_index() % lanes;
  const s64 head_row = (batch * args.num_q_heads + head) * args.q_len;
#pragma unroll 1
  for (s32 row = first; row < first + merge_rows; row += rows_at_once) {
    const bool exists = row < args.q_len;
    const s64 at = head_row + row;
    const MergedRow merged(exists ? load_global_f32(args.lse_a + at) : 0.0F,
                           exists ? load_global_f32(args.lse_b + at) : 0.0F);
    sync_warp(); // all lanes have read what one of them may overwrite
    if (exists && chunk == 0 && args.lse != nullptr) {
      store_global_f32(args.lse + at, merged.lse);
    }
    if (exists && chunk < chunks && args.out.data != nullptr) {
      merge_outputs<Config>(args, merged, batch, head, row, chunk);
    }
  }
}
