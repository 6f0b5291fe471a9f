// SPDX-License-Identifier: Apache-2.0
// prepare for the mma.sync family: the threshold T of every query row from its reference keys, and what select needs of
// Q: codes, scales and θ (docs/numerics.md, sections 3, 5 and 6). One CTA takes one query block.
#pragma once

#include "args/prepare_args.cuh"
#include "common/load_tile.cuh"
#include "common/region.cuh"
#include "device/cp_async.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "prepare/query_codes.cuh"
#include "prepare/reference_sum.cuh"

template <class Config>
struct PrepareLayout {
  static_assert(Config::rows_per_warp * Config::warps == Config::block_q, "a CTA takes one query block");
  static constexpr int row_bytes = Config::head_dim * 2;
  static constexpr int q_bytes = Config::block_q * row_bytes;
  static constexpr int tile_bytes = Config::keys_per_step * row_bytes;
  static constexpr int thresholds_bytes = Config::block_q * 4;
  static constexpr int shared_bytes = q_bytes + Config::stages * tile_bytes + thresholds_bytes;
};

// The reference keys as one ascending list: the blocks before the estimated ones, then those after.
struct ReferenceKeys {
  s32 count;
  s32 first_gap; // list positions from here on
  s32 gap;       // skip this many keys

  template <int block_q, int block_k>
  SALE_DEVICE ReferenceKeys(const Region<block_q, block_k> &region) {
    first_gap = imin(region.first_estimated * block_k, region.visible_keys);
    gap = region.end_estimated * block_k - first_gap;
    count = first_gap + imax(region.visible_keys - region.end_estimated * block_k, 0);
  }

  SALE_DEVICE s32 key(s32 position) const { return position < first_gap ? position : position + gap; }
};

// Positions first, first + 1, .. of the list, for load_tile.
struct ReferenceRows {
  ReferenceKeys keys;
  s32 first;
  SALE_DEVICE s32 operator()(s32 row) const { return keys.key(first + row); }
};

// Leaves T of the query block's rows in shared memory, and Q's rows too (zero past q_len).
template <class Config>
SALE_DEVICE void find_thresholds(const PrepareArgs &args, s32 query_block, s32 head, s64 batch) {
  using Layout = PrepareLayout<Config>;
  constexpr int stages = Config::stages;
  const u32 q_shared = dynamic_shared_address();
  const u32 k_shared = q_shared + Layout::q_bytes;
  const s32 first_row = query_block * Config::block_q;
  const u8 *q = static_cast<const u8 *>(args.q.data) + 2 * (batch * args.q.stride_batch + head * args.q.stride_head);
  const u8 *k = static_cast<const u8 *>(args.k.data) +
                2 * (batch * args.k.stride_batch + head / Config::gqa * args.k.stride_head);
  const Region<Config::block_q, Config::block_k> region(query_block, args.q_len, args.kv_len, args.sink, args.window);
  const ReferenceKeys keys(region);

  load_tile<Config::block_q, Layout::row_bytes, Config::threads>(q_shared, q, 2 * args.q.stride_token, args.q_len,
                                                                 ConsecutiveRows{first_row});
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    load_tile<Config::keys_per_step, Layout::row_bytes, Config::threads>(
        k_shared + i * Layout::tile_bytes, k, 2 * args.k.stride_token, region.visible_keys,
        ReferenceRows{keys, i * Config::keys_per_step});
    cp_async_commit();
  }
  const s32 warp_row = static_cast<s32>(thread_index() / 32) * Config::rows_per_warp;
  const s32 position = args.kv_len - args.q_len + first_row + warp_row;
  ReferenceSum<Config> sum(q_shared + static_cast<u32>(warp_row * Layout::row_bytes), args.softmax_scale);
  s32 stage = 0;
  for (s32 first = 0; first < keys.count; first += Config::keys_per_step) {
    cp_async_wait<stages - 2>();
    sync_threads(); // this stage has landed for every thread, and every warp has left the previous one
    const s32 ahead = stage == 0 ? stages - 1 : stage - 1;
    load_tile<Config::keys_per_step, Layout::row_bytes, Config::threads>(
        k_shared + static_cast<u32>(ahead * Layout::tile_bytes), k, 2 * args.k.stride_token, region.visible_keys,
        ReferenceRows{keys, first + (stages - 1) * Config::keys_per_step});
    cp_async_commit();
    sum.step(k_shared + static_cast<u32>(stage * Layout::tile_bytes), keys, first, position);
    stage = stage == stages - 1 ? 0 : stage + 1;
  }
  cp_async_wait<0>();
  const u32 thresholds = k_shared + stages * Layout::tile_bytes;
  sum.finish(thresholds + static_cast<u32>(warp_row * 4), load_global_f32(args.tau + head));
  sync_threads();
}

// Grid: (q_blocks, num_q_heads, batch).
template <class Config>
SALE_DEVICE void prepare(const PrepareArgs &args) {
  using Layout = PrepareLayout<Config>;
  const s32 query_block = static_cast<s32>(block_x());
  const s32 head = static_cast<s32>(block_y());
  const s64 batch = block_z();
  find_thresholds<Config>(args, query_block, head, batch);

  const u32 q_shared = dynamic_shared_address();
  const u32 thresholds = q_shared + Layout::q_bytes + Config::stages * Layout::tile_bytes;
  const s32 q_padded = ceil_div(args.q_len, 128) * 128;
  const s32 first_row = query_block * Config::block_q;
  // The last CTA also writes the padding that belongs to no query block.
  const s32 rows = query_block == static_cast<s32>(grid_x()) - 1 ? q_padded - first_row : Config::block_q;
  const s32 existing = args.q_len - first_row;
  const s64 query_head = batch * args.num_q_heads + head;
  const s64 kv_head = query_head / Config::gqa;
  const f32 shift = args.shift == nullptr ? 0.0F : load_global_f32(args.shift + head);
  const f32 shift_logits = div_rn(shift, args.softmax_scale);
  if constexpr (Config::estimator == Estimator::exact) {
    for (s32 row = static_cast<s32>(thread_index()); row < rows; row += Config::threads) {
      const f32 threshold = row < existing ? load_shared_f32(thresholds + static_cast<u32>(row) * 4) : infinity();
      store_global_f32(args.threshold + query_head * q_padded + first_row + row, threshold);
      store_global_f32(args.theta + query_head * q_padded + first_row + row,
                       row < existing ? sub_rn(threshold, shift_logits) : infinity());
    }
  } else {
    QueryCodes<Config> codes;
    codes.mean_key.load(args.kbar + kv_head * Config::head_dim);
    if constexpr (Config::estimator == Estimator::int4) {
      codes.mean_query.load(args.qbar + query_head * Config::head_dim);
    }
    codes.shift_logits = shift_logits;
    const s64 first = query_head * q_padded + first_row;
    codes.threshold = args.threshold + first;
    codes.theta = args.theta + first;
    codes.scale = args.q_scale + first;
    codes.codes = args.q_codes + first * Config::code_row_bytes;
    codes.write(q_shared, thresholds, rows, existing);
  }
}
