// SPDX-License-Identifier: Apache-2.0
// How select's work is cut. A unit is 64 query rows of one head. An item is what a CTA does at a time: Config::units
// units for each of the Config::consumers warpgroups that compute, all of which read the same keys. Inside a KV head
// the units go from the last query block to the first, which has the least to do; the heads of a group and the halves
// of a 128-row block follow each other. In a ragged batch an item's rows are among 512 of a sequence, an entry of
// RaggedArg::row_units; the items of all KV heads for one entry come before those of the next.
#pragma once

#include "args/select_wgmma_args.cuh"
#include "common/region.cuh"
#include "common/sequence.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/types.cuh"

struct SelectItem {
  s32 number; // negative: no more
  u32 rows;   // ragged: its entry of RaggedArg::row_units

  SALE_DEVICE s32 sequence() const { return static_cast<s32>(rows >> 16); }
};

template <class Config>
struct SelectUnit {
  bool exists;    // the last item of a KV head may lack some
  s32 query_head; // counted over all batch elements; ragged: in the sequence
  s32 block;      // query block
  s32 first_row;  // half a 128-row block in, for its second half; then perhaps past the last row
};

// The keys of an item.
template <class Config>
struct SelectKeys {
  s32 kv_head;   // counted over all batch elements; ragged: in the sequence
  s32 first_row; // ragged: of the codes of all heads
  s32 kv_len;    // ragged
  s32 sequence;  // ragged
};

template <class Config>
class SelectUnits {
  static constexpr int halves = Config::block_q / 64;
  static constexpr int per_block = Config::gqa * halves;
  static constexpr int per_item = Config::consumers * Config::units;
  static_assert(per_item % halves == 0, "an item has whole query blocks");

public:
  SALE_DEVICE explicit SelectUnits(const SelectWgmmaArgs &args) : args_(args) {
    const s32 kv_heads = args.num_q_heads / Config::gqa;
    if constexpr (Config::ragged) {
      kv_heads_ = kv_heads;
      items_ = args.ragged.counts->row_units * kv_heads * items_per_entry;
    } else {
      q_blocks_ = ceil_div(args.q_len, Config::block_q);
      items_per_kv_head_ = ceil_div(q_blocks_ * per_block, per_item);
      items_ = args.batch * kv_heads * items_per_kv_head_;
    }
  }

  SALE_DEVICE s32 items() const { return items_; }
  // Of a number below items(). An item of a ragged batch may have no unit.
  SALE_DEVICE SelectItem item(s32 number) const {
    if constexpr (Config::ragged) {
      return {number, args_.ragged.row_units[number / items_per_entry / kv_heads_]};
    } else {
      return {number, 0};
    }
  }

  // Counts KV heads over all batch elements; ragged: in the sequence.
  SALE_DEVICE s32 kv_head(const SelectItem &item) const {
    if constexpr (Config::ragged) {
      return item.number / items_per_entry % kv_heads_;
    } else {
      return item.number / items_per_kv_head_;
    }
  }

  SALE_DEVICE SelectKeys<Config> keys(const SelectItem &item) const {
    SelectKeys<Config> keys{kv_head(item), 0, 0, 0};
    if constexpr (Config::ragged) {
      const SequenceEntry &entry = args_.ragged.sequences[item.sequence()];
      keys.first_row = keys.kv_head * args_.ragged.kv_rows + entry.kv_row;
      keys.kv_len = entry.kv_len;
      keys.sequence = item.sequence();
    }
    return keys;
  }

  // Unit `which` of an item: the first ones are the first warpgroup's.
  SALE_DEVICE SelectUnit<Config> unit(const SelectItem &item, s32 which) const {
    const s32 kv = kv_head(item);
    if constexpr (Config::ragged) {
      const s32 index = item.number % items_per_entry * per_item + which;
      const s32 in_block = index % per_block;
      const s32 first_block = static_cast<s32>(item.rows & 0xffffU) * blocks_per_entry;
      const s32 all_blocks = ceil_div(args_.ragged.sequences[item.sequence()].q_len, Config::block_q);
      const s32 block = imin(first_block + blocks_per_entry, all_blocks) - 1 - index / per_block;
      return {block >= first_block, kv * Config::gqa + in_block / halves, block,
              block * Config::block_q + in_block % halves * 64};
    } else {
      const s32 index = (item.number - kv * items_per_kv_head_) * per_item + which;
      const s32 in_block = index % per_block;
      const s32 block = q_blocks_ - 1 - index / per_block;
      return {block >= 0, kv * Config::gqa + in_block / halves, block,
              block * Config::block_q + in_block % halves * 64};
    }
  }

  // The first of an item's query blocks: that of its last unit.
  SALE_DEVICE s32 first_block(const SelectItem &item) const { return imax(0, unit(item, per_item - 1).block); }

private:
  static constexpr int blocks_per_entry = rows_per_unit / Config::block_q;
  static constexpr int items_per_entry = (blocks_per_entry * per_block + per_item - 1) / per_item;

  const SelectWgmmaArgs &args_;
  s32 q_blocks_;          // plain
  s32 items_per_kv_head_; // plain
  s32 kv_heads_;          // ragged
  s32 items_;
};
