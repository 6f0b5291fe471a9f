// SPDX-License-Identifier: Apache-2.0
// count: launched before a call's first kernel and after its last one. Adds to the Plan's totals what the call kept of
// its visible blocks, and how long it took.
#pragma once

#include "args/count_args.cuh"
#include "common/mask_bits.cuh"
#include "common/region.cuh"
#include "common/sequence.cuh"
#include "device/add_64.cuh"
#include "device/clock.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <class Config>
struct CountLayout {
  static constexpr int kept = 0;
  static constexpr int visible = 4;
  static constexpr int shared_bytes = 8;
};

// Kept blocks of one query block, of those that this lane looks at.
SALE_DEVICE u32 kept_by_lane(const u32 *row, s32 first, s32 end) {
  u32 kept = 0;
#pragma unroll 4
  for (s32 word = first / 32 + static_cast<s32>(lane_index()); word * 32 < end; word += 32) {
    kept += static_cast<u32>(count_bits(load_global_4(row + word) & bits_between(first, end, word)));
  }
  return kept;
}

// Grid: (runs of query blocks, num_q_heads); when it begins, one CTA. Few CTAs, as each adds to the host's memory.
template <class Config>
SALE_DEVICE void count(const CountArgs &args) {
  using Layout = CountLayout<Config>;
  const u32 shared = dynamic_shared_address();
  const bool first_thread = thread_index() == 0;
  if (args.begins != 0) {
    if (first_thread) {
      *args.started = global_nanoseconds();
    }
    return;
  }
  if (first_thread) {
    if (block_x() + block_y() == 0) {
      add_global_64(&args.totals->nanoseconds, global_nanoseconds() - *args.started);
      add_global_64(&args.totals->calls, 1);
    }
    store_shared_4(shared + Layout::kept, 0);
    store_shared_4(shared + Layout::visible, 0);
  }
  sync_threads();
  const s32 head = static_cast<s32>(block_y());
  const s32 warp = static_cast<s32>(block_x() * Config::warps + thread_index() / 32);
  const s32 warps = static_cast<s32>(grid_x()) * Config::warps;
  u32 kept = 0;
  u32 visible = 0;
#pragma unroll 1
  for (s32 b = 0; b < args.batch; ++b) {
    const Sequence<Config> sequence(args, b);
    const s64 mask_row = sequence.mask_row(args, args.num_q_heads, head);
    for (s32 block = warp; block * Config::block_q < sequence.q_len; block += warps) {
      const s32 position = sequence.position + block * Config::block_q;
      const s32 end_key = imax(0, end_visible_key<Config>(position + Config::block_q, sequence.kv_len));
      const s32 end = ceil_div(end_key, Config::block_k);
      const s32 first = imin(first_visible_key<Config>(position, args.sliding_window) / Config::block_k, end);
      visible += static_cast<u32>(end - first);
      if (args.mask != nullptr) {
        kept += kept_by_lane(args.mask + (mask_row + block) * args.mask_words, first, end);
      }
    }
  }
#pragma unroll
  for (u32 distance = 16; distance > 0; distance /= 2) {
    kept += shuffle_xor(kept, distance);
  }
  if (lane_index() == 0) {
    add_shared(shared + Layout::kept, args.mask != nullptr ? kept : visible);
    add_shared(shared + Layout::visible, visible);
  }
  sync_threads();
  if (first_thread) {
    add_global_64(&args.totals->kept_blocks, load_shared_4(shared + Layout::kept));
    add_global_64(&args.totals->visible_blocks, load_shared_4(shared + Layout::visible));
  }
}
