// SPDX-License-Identifier: Apache-2.0
// How the codes of keys and values come to wgmma attend, with the scales beside the keys.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/attend_shared.cuh"
#include "attend/wgmma/key_place.cuh"
#include "attend/wgmma/tickets.cuh"
#include "device/bulk_copy.cuh"
#include "device/tensor_copy.cuh"
#include "device/types.cuh"

template <class Config>
struct CodeLoads {
  using Layout = AttendLayout<Config>;
  using Shared = AttendShared<Config>;
  using Source = u32; // granules lie in the order of their numbers
  static constexpr int granule_keys = Granule<Config>::keys;
  static constexpr int granule_blocks = granule_keys / 32;
  static constexpr int key_bytes = Layout::k_tile_bytes + Layout::scale_bytes; // of a tile, in all
  static constexpr int value_bytes = Config::keys_per_step * Config::head_dim;

  static SALE_DEVICE Source find_keys(const AttendWgmmaArgs & /*args*/, const AttendItem<Config> & /*item*/,
                                      u32 entry) {
    return entry;
  }
  static SALE_DEVICE Source find_values(const AttendWgmmaArgs & /*args*/, const AttendItem<Config> & /*item*/,
                                        u32 entry) {
    return entry;
  }

  // By lane `lane`, of granule `lane`.
  static SALE_DEVICE void keys(const AttendWgmmaArgs &args, const Shared &shared, const RingPlace &place,
                               const AttendItem<Config> &item, u32 lane, Source entry) {
    const s32 key = Granule<Config>::first_key(entry);
#pragma unroll
    for (int panel = 0; panel < Layout::k_panels; ++panel) {
      tensor_load_3d(shared.k.data(place) + panel * Layout::panel_bytes + lane * granule_keys * Layout::panel_row_bytes,
                     &args.k, shared.k.full(place), panel * 128, row_of(args, item, key), head_of(args, item));
    }
    bulk_load(shared.scales(place) + lane * granule_blocks * 16, args.scales + first_block(args, item, key) * 4,
              granule_blocks * 16, shared.k.full(place));
  }
  static SALE_DEVICE void values(const AttendWgmmaArgs &args, const Shared &shared, const RingPlace &place,
                                 const AttendItem<Config> &item, u32 lane, Source entry) {
    static_assert(granule_keys == 32, "blocks lie apart in shared memory");
    constexpr int bytes = 32 * Config::head_dim;
    bulk_load(shared.v.data(place) + lane * Layout::value_block_bytes,
              args.v_codes + first_block(args, item, Granule<Config>::first_key(entry)) * bytes, bytes,
              shared.v.full(place));
  }

private:
  // Coordinates of a key in the map of the codes; of ragged batches all heads are one run of rows.
  static SALE_DEVICE s32 row_of(const AttendWgmmaArgs &args, const AttendItem<Config> &item, s32 key) {
    if constexpr (Config::ragged) {
      const s64 first = item.sequence.key_row(args, args.num_q_heads / Config::gqa, item.kv_head);
      return key < item.sequence.kv_len ? static_cast<s32>(first) + key : KeyPlace::nowhere().token;
    } else {
      return key;
    }
  }
  // Counts those of batch elements before.
  static SALE_DEVICE s32 head_of(const AttendWgmmaArgs &args, const AttendItem<Config> &item) {
    if constexpr (Config::ragged) {
      return 0;
    } else {
      return item.batch * (args.num_q_heads / Config::gqa) + item.kv_head;
    }
  }
  // What fills a tile up lies past the last block: any values will do.
  static SALE_DEVICE s64 first_block(const AttendWgmmaArgs &args, const AttendItem<Config> &item, s32 key) {
    if constexpr (Config::ragged) {
      const s32 blocks = ceil_div(item.sequence.kv_len, 128) * 4;
      return item.sequence.template key_group<4>(args, args.num_q_heads / Config::gqa, item.kv_head) +
             imin(key / 32, blocks - granule_blocks);
    } else {
      const s32 blocks = ceil_div(args.kv_len, 128) * 4;
      return head_of(args, item) * static_cast<s64>(blocks) + imin(key / 32, blocks - granule_blocks);
    }
  }
};
