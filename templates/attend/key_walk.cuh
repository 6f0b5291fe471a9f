// Which keys a CTA visits: steps of keys_per_step keys, gathered from the kept blocks of its query blocks, ascending.
// Every warp walks on its own; all state is uniform within a warp and equal across the CTA.
#pragma once

#include "common/tensor.cuh"
#include "device/math.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

// A step is a few granules: runs of consecutive keys that share their mask bit.
template <class Config>
struct KeyStep {
  static constexpr int granule = Config::block_k < Config::keys_per_step ? Config::block_k : Config::keys_per_step;
  static constexpr int granules = Config::keys_per_step / granule;

  s32 key[granules];  // first key of each granule
  u32 keep[granules]; // bit b: query block b of the CTA keeps it; 0 = the granule is absent

  SALE_DEVICE bool empty() const { return keep[0] == 0; }
};

// Every visible key.
template <class Config>
class DenseWalk {
public:
  SALE_DEVICE DenseWalk(s32 visible_keys) : end_(visible_keys) {}

  SALE_DEVICE KeyStep<Config> next() {
    KeyStep<Config> step;
#pragma unroll
    for (int g = 0; g < KeyStep<Config>::granules; ++g) {
      step.key[g] = next_;
      step.keep[g] = next_ < end_ ? ~0U : 0U;
      next_ += KeyStep<Config>::granule;
    }
    return step;
  }

private:
  s32 end_;
  s32 next_ = 0;
};

// The union of the mask rows of the CTA's query blocks. A warp holds 32 words of each row, one per lane, and jumps from
// one non-empty word to the next by ballot.
template <class Config, int query_blocks>
class MaskWalk {
public:
  // mask_row: the mask words of the first query block; blocks_in_call: how many of the query blocks exist.
  SALE_DEVICE MaskWalk(const u32 *mask_row, s32 words, s32 blocks_in_call)
      : row_(mask_row), words_(words), blocks_in_call_(blocks_in_call) {
    load_words(0);
  }

  SALE_DEVICE KeyStep<Config> next() {
    constexpr int granule = KeyStep<Config>::granule;
    constexpr int granules_per_block = Config::block_k / granule;
    KeyStep<Config> step;
#pragma unroll
    for (int g = 0; g < KeyStep<Config>::granules; ++g) {
      if constexpr (granules_per_block > 1) {
        if (sub_ == 0) {
          next_block();
        }
        step.key[g] = block_ * Config::block_k + sub_ * granule;
        sub_ = keep_ == 0 ? 0 : (sub_ + 1) & (granules_per_block - 1);
      } else {
        next_block();
        step.key[g] = block_ * Config::block_k;
      }
      step.keep[g] = keep_;
    }
    return step;
  }

private:
  SALE_DEVICE void load_words(s32 first) {
    first_word_ = first;
    const s32 index = first + static_cast<s32>(lane_index());
    u32 any = 0;
#pragma unroll
    for (int b = 0; b < query_blocks; ++b) {
      lane_words_[b] = index < words_ && b < blocks_in_call_ ? row_[static_cast<s64>(b) * words_ + index] : 0;
      any |= lane_words_[b];
    }
    pending_ = ballot(any != 0);
  }

  SALE_DEVICE void next_block() {
    while (current_any_ == 0) {
      if (pending_ == 0) {
        if (first_word_ + 32 >= words_) {
          keep_ = 0;
          return;
        }
        load_words(first_word_ + 32);
        continue;
      }
      const s32 source = lowest_bit(pending_);
      pending_ &= pending_ - 1;
      word_ = first_word_ + source;
#pragma unroll
      for (int b = 0; b < query_blocks; ++b) {
        current_[b] = shuffle(lane_words_[b], static_cast<u32>(source));
        current_any_ |= current_[b];
      }
    }
    const s32 bit = lowest_bit(current_any_);
    current_any_ &= current_any_ - 1;
    block_ = word_ * 32 + bit;
    keep_ = 0;
#pragma unroll
    for (int b = 0; b < query_blocks; ++b) {
      keep_ |= ((current_[b] >> bit) & 1U) << b;
    }
  }

  const u32 *row_;
  s32 words_;
  s32 blocks_in_call_;
  s32 first_word_ = 0;           // word index of lane 0's word
  u32 lane_words_[query_blocks]; // this lane's word of each row
  u32 pending_ = 0;              // lanes whose words are not empty and not yet visited
  s32 word_ = 0;                 // the word being walked, of each row and of their union
  u32 current_[query_blocks];
  u32 current_any_ = 0;
  s32 block_ = 0;
  u32 keep_ = 0;
  s32 sub_ = 0;
};
