// SPDX-License-Identifier: Apache-2.0
// The tiles of keys of one item of wgmma attend, by one warp. Softmax does not care about order, so kept granules are
// packed by who keeps them: nobody computes what it did not keep, and what both keep is loaded once.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/tickets.cuh"
#include "common/mask_bits.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

// Every visible key, ascending.
template <class Config>
class DenseTiles {
public:
  static constexpr int list_bytes = 0;

  // Calls emit(entry) for each tile; lane g's entry is granule g's.
  template <class Emit>
  static SALE_DEVICE void walk(const AttendWgmmaArgs &args, const AttendItem<Config> &item, u32 /*list*/,
                               const Emit &emit) {
    s32 visible[Config::consumers];
    s32 end = 0;
#pragma unroll
    for (int c = 0; c < Config::consumers; ++c) {
      visible[c] = item.visible_keys(args, c);
      end = imax(end, visible[c]);
    }
    s32 first = 0;
    if constexpr (Config::sliding) {
      first = item.first_visible_key(args, 0) / Granule<Config>::keys * Granule<Config>::keys;
    }
    const s32 lane = static_cast<s32>(lane_index());
#pragma unroll 1
    for (; first < end; first += Config::keys_per_step) {
      const s32 key = first + lane * Granule<Config>::keys;
      u32 keep = 0;
#pragma unroll
      for (int c = 0; c < Config::consumers; ++c) {
        keep |= static_cast<u32>(key < visible[c]) << c;
        if constexpr (Config::sliding) {
          keep &= ~(static_cast<u32>(key + Granule<Config>::keys <= item.first_visible_key(args, c)) << c);
        }
      }
      emit(Granule<Config>::entry(key / Granule<Config>::keys, keep));
    }
  }
};

// The granules of kept blocks. A batch of mask words becomes a list in shared memory, sorted by class: kept by both,
// by consumer 0 only, by consumer 1 only. Whole tiles of each class are taken off it in turn; what is left goes to
// the front of its class in the next batch, and at the end the classes share tiles.
template <class Config>
class MaskTiles {
  static_assert(Config::consumers == 2, "three classes");
  static constexpr int classes = 3;
  static constexpr int per_tile = Granule<Config>::per_tile;
  static constexpr int per_block = Config::block_k / Granule<Config>::keys;
  static constexpr int batch_granules = 512;
  static constexpr int batch_blocks = batch_granules / per_block;
  static constexpr int lane_blocks = batch_blocks / 32;
  static constexpr u32 lane_mask = (1U << lane_blocks) - 1;
  static_assert(Config::block_k % Granule<Config>::keys == 0 && 32 % lane_blocks == 0, "a lane's blocks are in a word");
  static constexpr int count_bits_each = 10; // of blocks of a class in a batch, packed in one word

public:
  static constexpr int list_bytes = RoundUp<(batch_granules + classes * (per_tile - 1)) * 4, 16>::result;

  template <class Emit>
  static SALE_DEVICE void walk(const AttendWgmmaArgs &args, const AttendItem<Config> &item, u32 list,
                               const Emit &emit) {
    MaskTiles tiles(args, item, list);
    while (tiles.next_batch()) {
      tiles.emit_whole(emit);
    }
    tiles.emit_rest(emit);
  }

private:
  SALE_DEVICE MaskTiles(const AttendWgmmaArgs &args, const AttendItem<Config> &item, u32 list)
      : list_(list), nothing_(Granule<Config>::nothing(item.kv_len(args))) {
    const s32 q_blocks = ceil_div(item.q_len(args), Config::block_q);
    const s64 first = item.mask_row(args, q_blocks);
    end_block_ = 0;
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      visible_blocks_[c] = ceil_div(item.visible_keys(args, c), Config::block_k);
      // The last consumer may have no rows, and then no mask.
      const s32 q_block = imin((item.first_row + c * 64) / Config::block_q, q_blocks - 1);
      row_[c] = args.mask + (first + q_block) * args.mask_words;
      end_block_ = imax(end_block_, visible_blocks_[c]);
      if constexpr (Config::sliding) {
        hidden_blocks_[c] = item.first_visible_key(args, c) / Config::block_k;
      }
    }
    if constexpr (Config::sliding) {
      next_block_ = hidden_blocks_[0] / lane_blocks * lane_blocks;
    }
    fetch();
  }

  // The lane's blocks of the coming batch: in flight while the current one is worked on.
  SALE_DEVICE void fetch() {
    const s32 block = next_block_ + static_cast<s32>(lane_index()) * lane_blocks;
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      fetched_[c] = block < visible_blocks_[c] ? load_global_4(row_[c] + block / 32) : 0;
    }
  }

  SALE_DEVICE bool next_batch() {
    if (next_block_ >= end_block_) {
      return false;
    }
    const u32 lane = lane_index();
    const s32 block = next_block_ + static_cast<s32>(lane) * lane_blocks;
    u32 bits[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      bits[c] = (fetched_[c] & bits_below(visible_blocks_[c], block / 32)) >> block % 32 & lane_mask;
      if constexpr (Config::sliding) {
        bits[c] &= ~(bits_below(hidden_blocks_[c], block / 32) >> block % 32);
      }
    }
    next_block_ += batch_blocks;
    fetch();

    const u32 member[classes] = {bits[0] & bits[1], bits[0] & ~bits[1], bits[1] & ~bits[0]};
    u32 own = 0;
#pragma unroll
    for (int c = 0; c < classes; ++c) {
      own |= static_cast<u32>(count_bits(member[c])) << c * count_bits_each;
    }
    u32 through = own; // per class: blocks of this lane and those before it
#pragma unroll
    for (u32 distance = 1; distance < 32; distance *= 2) {
      const u32 before = shuffle(through, lane - distance);
      through += lane >= distance ? before : 0;
    }
    const u32 totals = shuffle(through, 31);

    // What is left of each class moves to the front of its place in the new list.
    u32 at[classes];
    u32 left[classes];
    u32 start = 0;
    u32 begin = 0;
    u32 count = 0;
#pragma unroll
    for (int c = 0; c < classes; ++c) {
      const u32 left_count = shuffle(rest_, c);
      const u32 left_from = shuffle(from_, c);
      left[c] = lane < left_count ? load_shared_4(list_ + (left_from + lane) * 4) : 0;
      const u32 class_count = left_count + (totals >> c * count_bits_each & count_mask) * per_block;
      at[c] = start + left_count + ((through - own) >> c * count_bits_each & count_mask) * per_block;
      begin = lane == static_cast<u32>(c) ? start : begin;
      count = lane == static_cast<u32>(c) ? class_count : count;
      start += class_count;
    }
    sync_warp();
#pragma unroll
    for (int c = 0; c < classes; ++c) {
      const u32 first = shuffle(begin, c);
      if (lane < shuffle(rest_, c)) {
        store_shared_4(list_ + (first + lane) * 4, left[c]);
      }
    }
    from_ = begin;
    rest_ = count;
#pragma unroll 1
    for (u32 open = bits[0] | bits[1]; open != 0; open &= open - 1) {
      const s32 bit = lowest_bit(open);
      const u32 keep = (bits[0] >> bit & 1U) | (bits[1] >> bit & 1U) << 1;
      const u32 to = keep == 3 ? at[0] : keep == 1 ? at[1] : at[2];
#pragma unroll
      for (int g = 0; g < per_block; ++g) {
        store_shared_4(list_ + (to + g) * 4, Granule<Config>::entry((block + bit) * per_block + g, keep));
      }
      at[0] += keep == 3 ? per_block : 0;
      at[1] += keep == 1 ? per_block : 0;
      at[2] += keep == 2 ? per_block : 0;
    }
    sync_warp();
    return true;
  }

  // A tile of each class in turn, as long as one has a whole tile.
  template <class Emit>
  SALE_DEVICE void emit_whole(const Emit &emit) {
    const u32 lane = lane_index();
    u32 last = classes - 1;
#pragma unroll 1
    for (;;) {
      const u32 whole = warp_ballot(rest_ >= per_tile);
      if (whole == 0) {
        return;
      }
      const u32 later = whole & ~((2U << last) - 1);
      last = static_cast<u32>(lowest_bit(later != 0 ? later : whole));
      const u32 from = shuffle(from_, last);
      emit(lane < per_tile ? load_shared_4(list_ + (from + lane) * 4) : 0);
      if (lane == last) {
        from_ += per_tile;
        rest_ -= per_tile;
      }
    }
  }

  // Consumer 0's, those of both, consumer 1's: each consumer's granules are neighbours.
  template <class Emit>
  SALE_DEVICE void emit_rest(const Emit &emit) {
    const u32 lane = lane_index();
    const u32 both = shuffle(rest_, 0);
    const u32 first = shuffle(rest_, 1);
    const u32 second = shuffle(rest_, 2);
    const u32 both_from = shuffle(from_, 0);
    const u32 first_from = shuffle(from_, 1);
    const u32 second_from = shuffle(from_, 2);
#pragma unroll 1
    for (u32 tile = 0; tile < first + both + second; tile += per_tile) {
      const u32 granule = tile + lane;
      u32 at = first_from + granule;
      at = granule >= first ? both_from + granule - first : at;
      at = granule >= first + both ? second_from + granule - first - both : at;
      const bool there = lane < per_tile && granule < first + both + second;
      emit(there ? load_shared_4(list_ + at * 4) : nothing_);
    }
  }

  static constexpr u32 count_mask = (1U << count_bits_each) - 1;

  u32 list_;
  u32 nothing_;
  const u32 *row_[2];
  s32 visible_blocks_[2];
  s32 hidden_blocks_[2]; // sliding: blocks before it are before all visible keys
  s32 end_block_;
  s32 next_block_ = 0;
  u32 fetched_[2];
  // Lane c: where the granules of class c begin in the list, and how many there are.
  u32 from_ = 0;
  u32 rest_ = 0;
};

template <class Config, bool dense>
struct TileWalkOf {
  using Type = MaskTiles<Config>;
};
template <class Config>
struct TileWalkOf<Config, true> {
  using Type = DenseTiles<Config>;
};
template <class Config>
using TileWalk = typename TileWalkOf<Config, Config::dense>::Type;
