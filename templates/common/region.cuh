// SPDX-License-Identifier: Apache-2.0
// The keys that rows see, and the reference region R of a query block (docs/numerics.md, section 1). Config says
// causal, sliding, block_q and block_k. Positions are those of keys; sliding_window is read where Config::sliding.
#pragma once

#include "common/sequence.cuh"
#include "device/types.cuh"

// Keys before this one are seen by no row at `position` or after it.
template <class Config>
SALE_DEVICE s32 first_visible_key(s32 position, s32 sliding_window) {
  if constexpr (Config::sliding) {
    return imax(0, position - sliding_window + 1);
  }
  return 0;
}

// Keys from this one on are seen by no row before `end_position`.
template <class Config>
SALE_DEVICE s32 end_visible_key(s32 end_position, s32 kv_len) {
  if constexpr (Config::causal) {
    return imin(end_position, kv_len);
  }
  return kv_len;
}

// Every block that is estimated is whole, and visible to every row.
template <class Config>
struct Region {
  s32 first_estimated; // blocks [first_estimated, end_estimated) are estimated; every other visible block is in R
  s32 end_estimated;
  s32 visible; // blocks [first_visible, visible) are visible
  s32 visible_keys;
  s32 first_visible; // 0 unless sliding
  s32 near_begin;    // not causal: blocks [near_begin, near_end) are in R too; else both end_estimated
  s32 near_end;

  SALE_DEVICE Region(s32 query_block, s32 q_len, s32 kv_len, s32 sink, s32 window, s32 sliding_window) {
    set(kv_len - q_len + query_block * Config::block_q, kv_len, sink, window, sliding_window);
  }

  // Args: the kernel's.
  template <class Args>
  SALE_DEVICE Region(s32 query_block, const Sequence<Config> &sequence, const Args &args) {
    s32 sink = args.sink;
    if constexpr (Config::parts) {
      sink = imax(0, sink - sequence.entry(args).key_offset);
    }
    set(sequence.position + query_block * Config::block_q, sequence.kv_len, sink, args.window, args.sliding_window);
  }

private:
  // p0: key position of the block's first row.
  SALE_DEVICE void set(s32 p0, s32 kv_len, s32 sink, s32 window, s32 sliding_window) {
    constexpr s32 block_q = Config::block_q;
    constexpr s32 block_k = Config::block_k;
    static_assert(Config::causal || !Config::sliding, "a sliding window ends at its row");
    s32 w0 = imax(0, p0 - window);
    visible_keys = end_visible_key<Config>(p0 + block_q, kv_len);
    if constexpr (Config::ragged) { // rows may come before all keys, and those of a part far behind them
      visible_keys = imax(0, visible_keys);
      w0 = imin(w0, kv_len);
    }
    visible = ceil_div(visible_keys, block_k);
    first_visible = 0;
    first_estimated = imin(ceil_div(sink, block_k), visible);
    if constexpr (Config::causal) {
      if constexpr (Config::sliding) {
        first_visible = imin(first_visible_key<Config>(p0, sliding_window) / block_k, visible);
        // Blocks before it are not whole for the last row.
        const s32 edge = ceil_div(first_visible_key<Config>(p0 + block_q - 1, sliding_window), block_k);
        first_estimated = imin(imax(first_estimated, edge), visible);
      }
      end_estimated = imax(w0 / block_k, first_estimated);
      near_begin = end_estimated;
      near_end = end_estimated;
    } else {
      end_estimated = imax(kv_len / block_k, first_estimated);
      near_begin = imin(imax(w0 / block_k, first_estimated), end_estimated);
      near_end = imin(imax(ceil_div(imax(0, p0 + block_q + window), block_k), near_begin), end_estimated);
    }
  }
};
