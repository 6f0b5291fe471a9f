// SPDX-License-Identifier: Apache-2.0
// What the loading thread of wgmma select hands to the warpgroups that compute: a ring of tiles of K codes with their
// scales, and a ring of the items that they belong to.
#pragma once

#include "args/select_wgmma_args.cuh"
#include "common/estimator.cuh"
#include "device/bulk_copy.cuh"
#include "device/matrix_descriptor.cuh"
#include "device/mbarrier.cuh"
#include "device/memory.cuh"
#include "device/proxy_fence.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/tensor_copy.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "select/wgmma/select_units.cuh"

template <class Config>
struct SelectLayout {
  static constexpr int keys = Config::keys_per_step;
  static constexpr int row_bytes = Config::code_row_bytes;
  static constexpr int box_row_bytes = row_bytes % 128 == 0 ? 128 : row_bytes % 64 == 0 ? 64 : 32;
  static constexpr int box_bytes = keys * box_row_bytes;
  static constexpr int tile_bytes = keys * row_bytes;
  static constexpr int scale_bytes = keys / 32 * 4;
  static constexpr int item_slots = 2;
  static constexpr int item_slot_bytes = 16;

  static constexpr int scales_offset = Config::stages * tile_bytes;
  static constexpr int items_offset = scales_offset + Config::stages * scale_bytes;
  static constexpr int barriers_offset = items_offset + item_slots * item_slot_bytes;
  static constexpr int shared_bytes = barriers_offset + (Config::stages + item_slots) * 16;
  static_assert(keys % 128 == 0, "the scales of a tile are whole 16-byte units");
};

// `slots` places with a barrier that says each is full and one that says it is empty, used in turn.
template <class Config, int slots>
class Ring {
public:
  SALE_DEVICE explicit Ring(u32 barriers) : barriers_(barriers) {}

  // By one thread, before the CTA's first barrier.
  SALE_DEVICE void init() const {
    for (u32 slot = 0; slot < slots; ++slot) {
      mbarrier_init(barriers_ + slot * 16, 1);
      mbarrier_init(barriers_ + slot * 16 + 8, Config::consumers * 4);
    }
  }

  SALE_DEVICE u32 slot() const { return slot_; }
  SALE_DEVICE u32 full() const { return barriers_ + slot_ * 16; }
  SALE_DEVICE void wait_empty() const { mbarrier_wait(full() + 8, parity_ ^ 1U); }
  SALE_DEVICE void wait_full() const { mbarrier_wait(full(), parity_); }
  // By whole warps of the computing warpgroups, when they have read the slot.
  SALE_DEVICE void release() const {
    if (lane_index() == 0) {
      mbarrier_arrive(full() + 8);
    }
  }
  SALE_DEVICE void advance() {
    slot_ += 1;
    if (slot_ == slots) {
      slot_ = 0;
      parity_ ^= 1U;
    }
  }

private:
  u32 barriers_;
  u32 slot_ = 0;
  u32 parity_ = 0;
};

// An item and the tiles of keys [begin, end) that its units estimate.
struct ItemTiles {
  SelectItem item;
  s32 begin;
  s32 end;
};

template <class Config>
class ItemRing {
  using Layout = SelectLayout<Config>;

public:
  SALE_DEVICE explicit ItemRing(u32 shared)
      : slots_(shared + Layout::items_offset), ring_(shared + Layout::barriers_offset + Config::stages * 16) {}

  SALE_DEVICE void init() const { ring_.init(); }

  SALE_DEVICE void put(const ItemTiles &tiles) {
    ring_.wait_empty();
    const u32 at = slots_ + ring_.slot() * Layout::item_slot_bytes;
    store_shared_16(at, {static_cast<u32>(tiles.item.number), static_cast<u32>(tiles.begin),
                         static_cast<u32>(tiles.end), tiles.item.rows});
    mbarrier_arrive(ring_.full());
    ring_.advance();
  }

  // By whole warps.
  SALE_DEVICE ItemTiles take() {
    ring_.wait_full();
    const Vec16 slot = load_shared_16(slots_ + ring_.slot() * Layout::item_slot_bytes);
    // The compiler must know them to be the same in a whole warp: loops over them hold wgmma.
    ItemTiles tiles = {{static_cast<s32>(shuffle(slot.word[0], 0)), 0},
                       static_cast<s32>(shuffle(slot.word[1], 0)),
                       static_cast<s32>(shuffle(slot.word[2], 0))};
    if constexpr (Config::ragged) {
      tiles.item.rows = shuffle(slot.word[3], 0);
    }
    sync_warp();
    ring_.release();
    ring_.advance();
    return tiles;
  }

private:
  u32 slots_;
  Ring<Config, Layout::item_slots> ring_;
};

template <class Config>
class CodeRing {
  using Layout = SelectLayout<Config>;

public:
  SALE_DEVICE explicit CodeRing(u32 shared) : shared_(shared), ring_(shared + Layout::barriers_offset) {}

  SALE_DEVICE void init() const { ring_.init(); }
  // By all threads, before the CTA's first barrier: the last tile of a head may have fewer scales than it has room for.
  SALE_DEVICE void clear_scales() const {
    static_assert(Config::stages * Layout::scale_bytes / 16 <= 128, "one store a thread");
    if (thread_index() < Config::stages * Layout::scale_bytes / 16) {
      store_shared_16(shared_ + Layout::scales_offset + thread_index() * 16, {0, 0, 0, 0});
      fence_async_proxy();
    }
  }

  // By one thread: the codes and scales of tile `tile` of a KV head.
  SALE_DEVICE void load(const SelectWgmmaArgs &args, const SelectKeys<Config> &keys, s32 tile) {
    ring_.wait_empty();
    // int8's rows of scales begin at no multiple of 16 bytes.
    const s32 scales_per_head = ceil_div(Config::ragged ? keys.kv_len : args.kv_len, 128) * 4;
    const s32 first_scale = tile * (Layout::scale_bytes / 4);
    const u32 scale_bytes = Config::estimator == Estimator::fp8
                                ? static_cast<u32>(imin(Layout::scale_bytes, (scales_per_head - first_scale) * 4))
                                : 0;
    mbarrier_expect(ring_.full(), Layout::tile_bytes + scale_bytes);
    const u32 codes = shared_ + ring_.slot() * Layout::tile_bytes;
    load_codes(args, keys, tile, codes);
    if (scale_bytes != 0) {
      const s64 of_head = Config::ragged ? s64{keys.first_row / 32} : static_cast<s64>(keys.kv_head) * scales_per_head;
      bulk_load(scales(), args.k_scales + of_head + first_scale, scale_bytes, ring_.full());
    }
    ring_.advance();
  }

  SALE_DEVICE void wait() const { ring_.wait_full(); }
  SALE_DEVICE void release() {
    ring_.release();
    ring_.advance();
  }

  SALE_DEVICE u32 scales() const { return shared_ + Layout::scales_offset + ring_.slot() * Layout::scale_bytes; }
  // Of all keys of the tile and the channels whose codes lie from byte `at` of a row on.
  SALE_DEVICE u64 descriptor(int at) const {
    constexpr MatrixSwizzle swizzle = Layout::box_row_bytes == 128  ? MatrixSwizzle::bytes_128
                                      : Layout::box_row_bytes == 64 ? MatrixSwizzle::bytes_64
                                                                    : MatrixSwizzle::bytes_32;
    const int offset = at / Layout::box_row_bytes * Layout::box_bytes + at % Layout::box_row_bytes;
    return matrix_descriptor(shared_ + ring_.slot() * Layout::tile_bytes, 16, 8 * Layout::box_row_bytes, swizzle) +
           static_cast<u64>(offset / 16);
  }

private:
  SALE_DEVICE void load_codes(const SelectWgmmaArgs &args, const SelectKeys<Config> &keys, s32 tile, u32 codes) const {
    if constexpr (Config::coded_pages) {
#pragma unroll 1
      for (s32 i = 0; i < Layout::keys; i += args.paged.rows_per_box) {
        load_box(args, keys, tile * Layout::keys + i, codes + static_cast<u32>(i * Layout::box_row_bytes));
      }
    } else {
#pragma unroll
      for (int at = 0; at < Layout::row_bytes; at += Layout::box_row_bytes) {
        if constexpr (Config::ragged) { // behind the sequence's last key lie rows of nobody, or of the next one
          tensor_load_3d(codes + static_cast<u32>(at * Layout::keys), &args.k_codes, ring_.full(), at,
                         keys.first_row + tile * Layout::keys, 0);
        } else {
          tensor_load_3d(codes + static_cast<u32>(at * Layout::keys), &args.k_codes, ring_.full(), at,
                         tile * Layout::keys, keys.kv_head);
        }
      }
    }
  }

  // Keys of one page, from `key` on; no page is read past the sequence's last key.
  SALE_DEVICE void load_box(const SelectWgmmaArgs &args, const SelectKeys<Config> &keys, s32 key, u32 codes) const {
    s32 page = args.paged.num_pages; // of no code: zeros
    s32 row = 0;
    if (key < keys.kv_len) {
      const s32 nth = key / args.paged.page_size;
      page = args.paged.table[static_cast<s64>(keys.sequence) * args.paged.table_stride + nth];
      row = key - nth * args.paged.page_size;
    }
#pragma unroll
    for (int at = 0; at < Layout::row_bytes; at += Layout::box_row_bytes) {
      tensor_load_4d(codes + static_cast<u32>(at * Layout::keys), &args.k_codes, ring_.full(), at, row, keys.kv_head,
                     page);
    }
  }

  u32 shared_;
  Ring<Config, Config::stages> ring_;
};
