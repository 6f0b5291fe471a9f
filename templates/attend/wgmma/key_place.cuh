// SPDX-License-Identifier: Apache-2.0
// Where a granule of 16-bit keys or values of a ragged batch lies in the maps of K and V.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/tickets.cuh"
#include "common/tensor_map.cuh"
#include "device/types.cuh"

// Small pages hold half a granule: those take two boxes.
template <class Config>
struct KeyBoxes {
  static constexpr int keys =
      Config::paged && Config::page_rows < Config::keys_per_copy ? Config::page_rows : Config::keys_per_copy;
  static constexpr int per_granule = Config::keys_per_copy / keys;
};

// Coordinates 1 and 3 of a box.
struct KeyPlace {
  s32 token;
  s32 batch;

  // Nothing is before the first token: the copy engine writes zeros.
  static SALE_DEVICE KeyPlace nowhere() { return {-256, 0}; }

  // Of keys from `key` on.
  template <class Config>
  static SALE_DEVICE KeyPlace of(const AttendWgmmaArgs &args, const AttendItem<Config> &item, s32 key) {
    if (key >= item.sequence.kv_len) {
      return nowhere();
    } else if constexpr (Config::paged) {
      const s32 page = key / args.paged.page_size;
      const s64 at = static_cast<s64>(item.batch) * args.paged.table_stride + page;
      return {key - page * args.paged.page_size, args.paged.table[at]};
    } else {
      return {item.sequence.entry(args).kv_start + key, item.batch * args.ragged.kv_batch};
    }
  }
};

// The boxes of a granule, and which map they are in.
template <class Config>
class GranulePlace {
  using Boxes = KeyBoxes<Config>;

public:
  static SALE_DEVICE GranulePlace of_keys(const AttendWgmmaArgs &args, const AttendItem<Config> &item, u32 entry) {
    return {args, item, Granule<Config>::first_key(entry)};
  }

  // Behind the last value lies what may be no number: such a granule is taken from the tails, where zeros follow.
  static SALE_DEVICE GranulePlace of_values(const AttendWgmmaArgs &args, const AttendItem<Config> &item, u32 entry) {
    const s32 key = Granule<Config>::first_key(entry);
    GranulePlace place(args, item, key);
    const s32 kv_len = item.sequence.kv_len;
    place.in_tails_ = key < kv_len && key + Granule<Config>::keys > kv_len;
    if (place.in_tails_) {
#pragma unroll
      for (int i = 0; i < Boxes::per_granule; ++i) {
        place.boxes_[i] = {i * Boxes::keys, item.batch};
      }
    }
    return place;
  }

  SALE_DEVICE bool in_tails() const { return in_tails_; }
  SALE_DEVICE const KeyPlace &box(int i) const { return boxes_[i]; }

private:
  SALE_DEVICE GranulePlace(const AttendWgmmaArgs &args, const AttendItem<Config> &item, s32 key) {
#pragma unroll
    for (int i = 0; i < Boxes::per_granule; ++i) {
      boxes_[i] = KeyPlace::of<Config>(args, item, key + i * Boxes::keys);
    }
  }

  bool in_tails_ = false;
  KeyPlace boxes_[Boxes::per_granule];
};
