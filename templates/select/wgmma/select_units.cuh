// SPDX-License-Identifier: Apache-2.0
// How select's work is cut. A unit is 64 query rows of one head. An item is what a CTA does at a time: Config::units
// units for each of the Config::consumers warpgroups that compute, all of which read the same keys. Inside a KV head
// the units go from the last query block to the first, which has the least to do; the heads of a group and the halves
// of a 128-row block follow each other.
#pragma once

#include "args/select_wgmma_args.cuh"
#include "common/region.cuh"
#include "device/memory.cuh"
#include "device/types.cuh"

template <class Config>
struct SelectUnit {
  bool exists;    // the last item of a KV head may lack some
  s32 query_head; // counted over all batch elements
  s32 block;      // query block
  s32 first_row;  // half a 128-row block in, for its second half; then perhaps past the last row
};

template <class Config>
class SelectUnits {
  static constexpr int halves = Config::block_q / 64;
  static constexpr int per_block = Config::gqa * halves;
  static constexpr int per_item = Config::consumers * Config::units;
  static_assert(per_item % halves == 0, "an item has whole query blocks");

public:
  SALE_DEVICE explicit SelectUnits(const SelectWgmmaArgs &args)
      : q_blocks_(ceil_div(args.q_len, Config::block_q)), items_per_kv_head_(ceil_div(q_blocks_ * per_block, per_item)),
        items_(args.batch * (args.num_q_heads / Config::gqa) * items_per_kv_head_) {}

  SALE_DEVICE s32 items() const { return items_; }
  // Counts KV heads over all batch elements.
  SALE_DEVICE s32 kv_head(s32 item) const { return item / items_per_kv_head_; }

  // Unit `which` of an item: the first ones are the first warpgroup's.
  SALE_DEVICE SelectUnit<Config> unit(s32 item, s32 which) const {
    const s32 kv = kv_head(item);
    const s32 index = (item - kv * items_per_kv_head_) * per_item + which;
    const s32 in_block = index % per_block;
    const s32 block = q_blocks_ - 1 - index / per_block;
    return {block >= 0, kv * Config::gqa + in_block / halves, block, block * Config::block_q + in_block % halves * 64};
  }

  // The first of an item's query blocks: that of its last unit.
  SALE_DEVICE s32 first_block(s32 item) const { return imax(0, unit(item, per_item - 1).block); }

private:
  s32 q_blocks_;
  s32 items_per_kv_head_;
  s32 items_;
};
