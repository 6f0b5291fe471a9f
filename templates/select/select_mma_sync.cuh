// SPDX-License-Identifier: Apache-2.0
// select for the mma.sync family: estimates every (query row, key) outside the reference region and sets the bit of
// each key block where some row's estimate exceeds its θ (docs/numerics.md, section 7). The warps of a CTA own its
// query rows and share the K tiles of a cp.async pipeline; no score leaves the registers.
#pragma once

#include "args/select_args.cuh"
#include "common/estimator.cuh"
#include "common/mask_bits.cuh"
#include "common/region.cuh"
#include "common/sequence.cuh"
#include "device/cp_async.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "select/key_tiles.cuh"
#include "select/reference_bits.cuh"
#include "select/warp_estimate.cuh"

// Grid: (ceil(q_len / rows), num_q_heads, batch); ragged: (slots * 512 / rows, num_q_heads, 1). The longest query tiles
// of a head come first.
template <class Config>
SALE_DEVICE void select(const SelectArgs &args) {
  using Layout = SelectLayout<Config>;
  constexpr int rows = Config::rows_per_warp * Config::warps;
  constexpr int stages = Config::stages;
  constexpr int keys_per_word = 32 * Config::block_k;
  static_assert(rows % Config::block_q == 0 && Config::block_q % Config::rows_per_warp == 0, "whole query blocks");
  static_assert(keys_per_word % Config::keys_per_step == 0, "a step lies within one mask word");

  s32 batch = 0;
  s32 first_row = 0;
  if constexpr (Config::ragged) {
    const ScheduledRows<rows> scheduled(args.ragged, static_cast<s32>(block_x()));
    if (!scheduled.exists) {
      return;
    }
    batch = scheduled.batch;
    first_row = scheduled.first_row;
  } else {
    first_row = static_cast<s32>(grid_x() - 1 - block_x()) * rows;
    batch = static_cast<s32>(block_z());
  }
  const Sequence<Config> sequence(args, batch);
  if (Config::ragged && first_row >= sequence.q_len) {
    return;
  }
  const s32 first_block = first_row / Config::block_q;
  const s32 q_blocks = ceil_div(sequence.q_len, Config::block_q);
  const s32 end_block = imin(first_block + rows / Config::block_q, q_blocks);
  const s32 head = static_cast<s32>(block_y());
  u32 *mask = args.mask + sequence.mask_row(args, args.num_q_heads, head) * args.mask_words;

  const bool dense = keeps_all<Config>(args, sequence.kv_len, load_global_f32(args.tau + head));
  for (s32 block = first_block; block < end_block; ++block) {
    const Region<Config> region(block, sequence, args);
    write_reference_bits<Config::threads>(mask + static_cast<s64>(block) * args.mask_words, args.mask_words, region,
                                          dense, thread_index());
  }
  // No range starts before the first block's, and none ends after the last block's.
  const Region<Config> first_region(first_block, sequence, args);
  const Region<Config> last_region(end_block - 1, sequence, args);
  const s32 begin = first_region.first_estimated * Config::block_k / Config::keys_per_step * Config::keys_per_step;
  const s32 end = last_region.end_estimated * Config::block_k;
  if (dense || begin >= end) {
    return;
  }
  sync_threads(); // the words above come before the bits below

  const KeyTiles<Config> tiles(args, sequence, head);
  const u32 shared = dynamic_shared_address();
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    tiles.load(shared + i * Layout::stage_bytes, begin + i * Config::keys_per_step, end);
    cp_async_commit();
  }

  const s32 warp_row = first_row + static_cast<s32>(thread_index() / 32) * Config::rows_per_warp;
  const s32 block = warp_row / Config::block_q; // the query block of this warp
  const Region<Config> region(block, sequence, args);
  // A warp past the last query block sees no key.
  const s32 end_key = block < end_block ? region.end_estimated * Config::block_k : 0;
  u32 *const row = mask + static_cast<s64>(block) * args.mask_words;
  WarpEstimate<Config> estimate(args, sequence, warp_row, head);

  s32 stage = 0;
  u32 bits = 0; // of the current mask word, this lane's rows and keys
  for (s32 key = begin; key < end; key += Config::keys_per_step) {
    cp_async_wait<stages - 2>();
    sync_threads(); // this stage has landed for every thread, and every warp has left the previous one
    const s32 ahead = stage == 0 ? stages - 1 : stage - 1;
    tiles.load(shared + static_cast<u32>(ahead * Layout::stage_bytes), key + (stages - 1) * Config::keys_per_step, end);
    cp_async_commit();
    if (key < end_key) {
      bits |= estimate.step(shared + static_cast<u32>(stage * Layout::stage_bytes)) << (key / Config::block_k % 32);
      const s32 next = key + Config::keys_per_step;
      if (next % keys_per_word == 0 || next >= end_key) {
        const s32 word = key / keys_per_word;
        // Bits of near blocks, where not causal, are set anyway.
        bits = reduce_or(bits) & bits_between(region.first_estimated, region.end_estimated, word);
        if (bits != 0 && lane_index() == 0) {
          or_global(row + word, bits);
        }
        bits = 0;
      }
    }
    stage = stage == stages - 1 ? 0 : stage + 1;
  }
}
