// SPDX-License-Identifier: Apache-2.0
// The second filter (docs/numerics.md, section 13): which kept blocks of 32 keys no row of a consumer scores above its
// threshold. Blocks of the reference region stay.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/tickets.cuh"
#include "common/region.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/named_barrier.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <class Config>
class BlockFilter {
  static_assert(!Config::filtered || Granule<Config>::keys == 32, "granules are what is left out");

public:
  // What is left of a tile: a bit for each granule.
  struct Granules {
    u32 kept;
    u32 dropped;
  };

  // row: the lane's first, of the item's.
  SALE_DEVICE void begin(const AttendWgmmaArgs &args, const AttendItem<Config> &item, s32 row) {
    const s64 at = item.query_row(args) + item.first_row + row;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      threshold_[r] = args.threshold == nullptr ? -infinity() : load_global_f32(args.threshold + at + r * 8);
    }
    if constexpr (Config::ragged) {
      if (item.sequence.kv_len < args.ragged.dense_below) { // select has kept all, and so must this
        threshold_[0] = -infinity();
        threshold_[1] = -infinity();
      }
    }
    if constexpr (keeps_candidates) {
      const s32 query_block = (item.first_row + row / 64 * 64) / Config::block_q;
      candidates_ = Candidates(Region<Config>(query_block, item.sequence, args));
    }
  }

  // Thresholds t become (t - offset)·factor.
  SALE_DEVICE void change(const f32 (&offset)[2], const f32 (&factor)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      threshold_[r] = mul_rn(sub_rn(threshold_[r], offset[r]), factor[r]);
    }
  }

  // By the whole warpgroup, before scores are masked: candidates are visible to every row.
  // position: of the consumer's first row; exchange: 16 bytes of shared memory, the warpgroup's until it has left the
  // tile. highest(g, r): the lane's highest score in granule g of its row half r; NaN counts as above.
  template <class Highest>
  SALE_DEVICE Granules apply(const AttendWgmmaArgs &args, const TicketRing<Config> &tickets, u32 consumer, s32 position,
                             u32 exchange, const Highest &highest) const {
    const s32 block_position = position - (Config::block_q == 64 ? 0 : static_cast<s32>(consumer) * 64);
    s32 first_key = ceil_div(args.sink, Config::block_k) * Config::block_k;
    s32 end_key = imax(0, block_position - args.window) / Config::block_k * Config::block_k;
    s32 near_begin = 0;
    s32 near_end = 0;
    if constexpr (keeps_candidates) {
      first_key = candidates_.first_key;
      end_key = candidates_.end_key;
      near_begin = candidates_.near_begin;
      near_end = candidates_.near_end;
    } else if constexpr (Config::sliding || !Config::causal) {
      const Region<Config> region((block_position - (args.kv_len - args.q_len)) / Config::block_q, args.q_len,
                                  args.kv_len, args.sink, args.window, args.sliding_window);
      first_key = region.first_estimated * Config::block_k;
      end_key = region.end_estimated * Config::block_k;
      near_begin = region.near_begin * Config::block_k;
      near_end = region.near_end * Config::block_k;
    }
    u32 kept = 0;
    u32 candidates = 0;
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_tile; ++g) {
      const u32 entry = tickets.entry(g);
      const s32 key = Granule<Config>::first_key(entry);
      const bool is_kept = (Granule<Config>::keep(entry) >> consumer & 1U) != 0;
      kept |= static_cast<u32>(is_kept) << g;
      candidates |= static_cast<u32>(is_kept && key >= first_key && key < end_key) << g;
      if constexpr (!Config::causal) {
        candidates &= ~(static_cast<u32>(key >= near_begin && key < near_end) << g);
      }
    }
    if (candidates == 0) {
      return {kept, 0};
    }
    u32 above = 0;
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_tile; ++g) {
      above |= static_cast<u32>(!(highest(g, 0) <= threshold_[0]) || !(highest(g, 1) <= threshold_[1])) << g;
    }
    above = reduce_or(above);
    if (lane_index() == 0) {
      store_shared_4(exchange + thread_index() % 128 / 32 * 4, above);
    }
    barrier_sync(3 + consumer, 128);
    const Vec16 all = load_shared_16(exchange);
    return {kept, candidates & ~(all.word[0] | all.word[1] | all.word[2] | all.word[3])};
  }

private:
  // Where more than the position tells them: lengths of ragged batches are far away.
  static constexpr bool keeps_candidates = Config::ragged && (Config::sliding || !Config::causal || Config::parts);

  // Keys that may be left out: [first_key, end_key) but for [near_begin, near_end).
  struct Candidates {
    s32 first_key;
    s32 end_key;
    s32 near_begin; // not causal
    s32 near_end;

    Candidates() = default;
    SALE_DEVICE explicit Candidates(const Region<Config> &region)
        : first_key(region.first_estimated * Config::block_k), end_key(region.end_estimated * Config::block_k),
          near_begin(region.near_begin * Config::block_k), near_end(region.near_end * Config::block_k) {}
  };

  f32 threshold_[2];
  Candidates candidates_; // keeps_candidates
};
