// SPDX-License-Identifier: Apache-2.0
// Which keys a CTA visits, in steps of keys_per_step keys. A step is a few granules: runs of consecutive
// keys that share their mask bit. A walk's next() is called by the whole CTA at once; steps stay readable while they
// are in the pipeline.
#pragma once

#include "attend/attend_tile.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <class Config>
struct Granule {
  static constexpr int keys = Config::block_k < Config::keys_per_step ? Config::block_k : Config::keys_per_step;
  static constexpr int per_step = Config::keys_per_step / keys;
  static_assert(Config::keys_per_step % keys == 0 && Config::block_k % keys == 0, "whole granules");

  s32 key;  // its first key
  u32 keep; // bit b: query block b of the CTA keeps it; 0 = there is nothing to load
};

// Every visible key.
template <class Config>
class DenseWalk {
public:
  struct Step {
    s32 first; // negative = past the end

    SALE_DEVICE bool empty() const { return first < 0; }
    SALE_DEVICE Granule<Config> granule(int g) const { return {first + g * Granule<Config>::keys, ~0U}; }
  };
  static constexpr int shared_bytes = 0;

  SALE_DEVICE DenseWalk(s32 first_key, s32 end_key) : end_(end_key) {
    if constexpr (Config::sliding) { // at a multiple of a step's keys: where a row's steps begin is the same in any
                                     // tile
      next_ = first_key / Config::keys_per_step * Config::keys_per_step;
    }
  }

  // A step that no row sees.
  SALE_DEVICE Step nothing() const { return {0x7f000000}; }

  SALE_DEVICE Step next() {
    const s32 first = next_;
    next_ += Config::keys_per_step;
    return {first < end_ ? first : -1};
  }

private:
  s32 end_;
  s32 next_ = 0;
};

// The union of the mask rows of the CTA's query blocks, gathered a batch of mask words at a time into a list in shared
// memory. An entry is (granule index << 2) | keep; 0 pads the last step of a batch.
template <class Config, int shared_offset>
class MaskWalk {
  static constexpr int query_blocks = AttendTile<Config>::query_blocks;
  static_assert(query_blocks <= 2, "an entry has two keep bits");
  static constexpr int granule_keys = Granule<Config>::keys;
  static constexpr int per_step = Granule<Config>::per_step;
  static constexpr int per_block = Config::block_k / granule_keys;
  static constexpr int batch_granules = 256;
  static constexpr int batch_words = batch_granules / per_block / 32;
  static constexpr int batch_bytes = batch_granules * 4;
  // Each pipeline stage may hold a step of another batch, and one more is being written.
  static constexpr int buffers = Config::stages;
  static constexpr int classes = query_blocks == 1 ? 1 : 3;
  static constexpr int count_bits_each = 10; // per-class counts, at most batch_granules, travel packed in one word
  static constexpr bool fetches_ahead = !Config::ragged; // which leave no registers for it
  static constexpr u32 count_mask = (1U << count_bits_each) - 1;

public:
  struct Step {
    u32 entries; // shared address; 0 = past the end

    SALE_DEVICE bool empty() const { return entries == 0; }
    SALE_DEVICE Granule<Config> granule(int g) const {
      const u32 entry = load_shared_4(entries + g * 4);
      return {static_cast<s32>(entry >> 2) * granule_keys, entry & 3U};
    }
  };
  // The lists, and before them one step of zeros.
  static constexpr int nothing_bytes = 16;
  static_assert(per_step * 4 <= nothing_bytes, "a step of zeros");
  static constexpr int shared_bytes = nothing_bytes + buffers * batch_bytes;

  // The CTA must meet at a barrier before it reads the step of zeros.
  SALE_DEVICE explicit MaskWalk(const MaskRows<Config> &rows) : rows_(rows) {
    if (thread_index() < nothing_bytes / 4) {
      store_shared_4(nothing().entries + thread_index() * 4, 0);
    }
    if constexpr (fetches_ahead) {
      fetch_words();
    }
  }

  // A step that no query block keeps.
  SALE_DEVICE Step nothing() const { return {dynamic_shared_address() + shared_offset}; }

  SALE_DEVICE Step next() {
    at_ += per_step * 4;
    while (at_ >= end_) {
      if (next_word_ >= rows_.words()) {
        return {0};
      }
      build_batch();
    }
    return {at_};
  }

private:
  // Lane i takes word i of the coming batch of each row; fetched ahead, the loads are in flight while the current batch
  // is worked on.
  SALE_DEVICE void fetch_words() {
    const s32 lane = static_cast<s32>(lane_index());
#pragma unroll
    for (int b = 0; b < query_blocks; ++b) {
      fetched_[b] = lane < batch_words ? rows_.word(b, next_word_ + lane) : 0;
    }
  }

  SALE_DEVICE void build_batch() {
    if constexpr (!fetches_ahead) {
      fetch_words();
    }
    const u32 lane = lane_index();
    u32 member[classes]; // blocks of this lane's word, by who keeps them
    u32 keep[classes];
    if constexpr (query_blocks == 1) {
      member[0] = fetched_[0];
      keep[0] = 1;
    } else {
      member[0] = fetched_[0] & fetched_[1];
      member[1] = fetched_[0] & ~fetched_[1];
      member[2] = fetched_[1] & ~fetched_[0];
      keep[0] = 3;
      keep[1] = 1;
      keep[2] = 2;
    }
    u32 through = 0; // per class: blocks in this lane's word and those before it
#pragma unroll
    for (int c = 0; c < classes; ++c) {
      through += static_cast<u32>(count_bits(member[c])) << c * count_bits_each;
    }
#pragma unroll
    for (u32 distance = 1; distance < batch_words; distance *= 2) {
      const u32 before = shuffle(through, lane - distance);
      through += lane >= distance ? before : 0;
    }
    const u32 totals = shuffle(through, batch_words - 1);
    next_word_ += batch_words;
    if constexpr (fetches_ahead) {
      fetch_words();
    }
    if (totals == 0) {
      return; // and the buffer stays free for the next batch
    }
    buffer_ = buffer_ == buffers - 1 ? 0 : buffer_ + 1;
    const u32 list = dynamic_shared_address() + shared_offset + nothing_bytes + buffer_ * batch_bytes;
#pragma unroll 1
    for (int i = 0; i < (batch_granules + Config::threads - 1) / Config::threads; ++i) {
      // The 32 granules of a warp lie in one mask word.
      const s32 granule = i * Config::threads + static_cast<s32>(thread_index());
      const u32 source = static_cast<u32>(granule / per_block / 32) & 31U;
      const u32 bit = static_cast<u32>(granule / per_block) & 31U;
      const u32 index = static_cast<u32>((next_word_ - batch_words) * 32 * per_block + granule);
      const u32 through_here = shuffle(through, source);
      s32 first = 0; // where the class begins
#pragma unroll
      for (int c = 0; c < classes; ++c) {
        const u32 from_here = shuffle(member[c], source) >> bit; // this block and later ones of its word
        const s32 block =
            first + static_cast<s32>(through_here >> c * count_bits_each & count_mask) - count_bits(from_here);
        if ((from_here & 1U) != 0 && granule < batch_granules) {
          store_shared_4(list + (block * per_block + granule % per_block) * 4, index << 2 | keep[c]);
        }
        first += static_cast<s32>(totals >> c * count_bits_each & count_mask);
      }
    }
    s32 total = 0;
#pragma unroll
    for (int c = 0; c < classes; ++c) {
      total += static_cast<s32>(totals >> c * count_bits_each & count_mask) * per_block;
    }
    const s32 count = (total + per_step - 1) / per_step * per_step;
    if (thread_index() < static_cast<u32>(count - total)) {
      store_shared_4(list + (total + thread_index()) * 4, 0);
    }
    at_ = list;
    end_ = list + count * 4;
    sync_threads();
  }

  MaskRows<Config> rows_;
  s32 next_word_ = 0; // first word of the coming batch
  u32 fetched_[query_blocks];
  s32 buffer_ = 0;
  u32 at_ = 0; // shared addresses: the coming step, and the end of the current batch
  u32 end_ = 0;
};
