// SPDX-License-Identifier: Apache-2.0
// amax: the largest magnitude of each head's elements (docs/numerics.md, section 14). Magnitudes of one type are
// ordered as their bits are, and a NaN's are above infinity's: so maxima are those of integers.
#pragma once

#include "args/amax_args.cuh"
#include "common/key_rows.cuh"
#include "common/sequence.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <class Config>
struct AmaxLayout {
  static constexpr int chunks = Config::head_dim / 8;          // 16-byte pieces of a row, one thread each
  static constexpr int token_lanes = Config::threads / chunks; // rows that the CTA reads at once
  static constexpr int shared_bytes = 0;
  static_assert(Config::threads % chunks == 0, "every thread has rows to read");
};

// Grid: (splits, heads, batch).
template <class Config>
SALE_DEVICE void amax(const AmaxArgs &args) {
  using Layout = AmaxLayout<Config>;
  const s32 chunk = static_cast<s32>(thread_index()) % Layout::chunks;
  const s32 token_lane = static_cast<s32>(thread_index()) / Layout::chunks;
  const Sequence<Config> sequence(args, static_cast<s32>(block_z()));
  const s32 first = static_cast<s32>(block_x()) * args.tokens_per_split;
  const s32 end = imin(first + args.tokens_per_split, sequence.kv_len);
  if (Config::ragged && first >= end) {
    return;
  }
  KeyRows<Config> rows(args, args.x, sequence, static_cast<s32>(block_y()));
  rows.skip(s64{16} * chunk);
  // Of the pairs' low and of their high elements; below the high ones' bits are those of the low, which only break
  // ties.
  s32 low = 0;
  s32 high = 0;
#pragma unroll 8
  for (s32 token = first + token_lane; token < end; token += Layout::token_lanes) {
    const Vec16 v = load_global_16(rows.row(token));
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      low = imax(low, static_cast<s32>(v.word[w] & 0x7fffU));
      high = imax(high, static_cast<s32>(v.word[w] & 0x7fffffffU));
    }
  }
  u32 largest = static_cast<u32>(imax(low, high >> 16));
#pragma unroll
  for (u32 distance = 16; distance > 0; distance /= 2) {
    const u32 other = shuffle_xor(largest, distance);
    largest = other > largest ? other : largest;
  }
  if (lane_index() == 0) {
    max_global(args.amax + static_cast<s64>(block_z()) * args.heads + block_y(),
               float_bits(Config::Element::low(largest)));
  }
}
