// SPDX-License-Identifier: Apache-2.0
// Shared memory of wgmma attend, which starts at a multiple of 1024. Rows lie in panels of 128 bytes a row (64 where
// there are no more), swizzled by the copy engine; queries have 16 bits a channel, keys and values 16, or 8 of codes.
#pragma once

#include "attend/wgmma/ring.cuh"
#include "attend/wgmma/tickets.cuh"
#include "attend/wgmma/tile_walk.cuh"
#include "device/memory.cuh"
#include "device/proxy_fence.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct AttendLayout {
  static constexpr int q_panels = Config::head_dim / 64;
  static constexpr int q_panel_bytes = 64 * 128;
  static constexpr int q_block_bytes = q_panels * q_panel_bytes; // the rows of a consumer
  static constexpr int k_row_bytes = Config::head_dim * (Config::fp8 ? 1 : 2);
  static constexpr int panel_row_bytes = k_row_bytes < 128 ? k_row_bytes : 128;
  static constexpr int panel_bytes = Config::keys_per_step * panel_row_bytes;
  static constexpr int k_panels = k_row_bytes / panel_row_bytes;
  static constexpr int k_tile_bytes = k_panels * panel_bytes;
  static constexpr int v_panels = Config::v_head_dim / 64; // of 16 bits
  // fp8: 32 keys of every channel, then eight rows of ones, whose products with P are its sums.
  static constexpr int value_block_bytes = (Config::head_dim + 8) * 32;
  static constexpr int v_tile_bytes =
      Config::fp8 ? Config::keys_per_step / 32 * value_block_bytes : v_panels * panel_bytes;
  static constexpr int scale_bytes = Config::fp8 ? Config::keys_per_step / 32 * 16 : 0; // beside a tile of keys

  // Of a consumer; narrower rows of codes stay in registers.
  static constexpr int q_codes_bytes = Config::fp8 && Config::head_dim > 128 ? 64 * Config::head_dim : 0;

  using Queries = Ring<1, Config::consumers * q_block_bytes>;
  using Keys = Ring<Config::stages, k_tile_bytes>;
  using Values = Ring<Config::stages, v_tile_bytes>;

  static constexpr int q_codes_offset = Queries::data_bytes;
  static constexpr int k_offset = q_codes_offset + Config::consumers * q_codes_bytes;
  static constexpr int v_offset = k_offset + Keys::data_bytes;
  static constexpr int scales_offset = v_offset + Values::data_bytes;
  static constexpr int tickets_offset = scales_offset + Config::stages * scale_bytes;
  static constexpr int list_offset = tickets_offset + TicketRing<Config>::data_bytes;
  static constexpr int exchange_offset = list_offset + TileWalk<Config>::list_bytes;
  static constexpr int exchange_bytes = Config::filtered ? Config::stages * 16 : 0; // of a consumer: 4 words a place
  static constexpr int q_barriers = exchange_offset + Config::consumers * exchange_bytes;
  static constexpr int k_barriers = q_barriers + Queries::barrier_bytes;
  static constexpr int v_barriers = k_barriers + Keys::barrier_bytes;
  static constexpr int ticket_barriers = v_barriers + Values::barrier_bytes;
  static constexpr int shared_bytes = ticket_barriers + TicketRing<Config>::barrier_bytes;
};

template <class Config>
struct AttendShared {
  using Layout = AttendLayout<Config>;
  static constexpr int consumer_warps = 4 * Config::consumers;

  u32 base = dynamic_shared_address();
  typename Layout::Queries q{base, base + Layout::q_barriers};
  typename Layout::Keys k{base + Layout::k_offset, base + Layout::k_barriers};
  typename Layout::Values v{base + Layout::v_offset, base + Layout::v_barriers};
  TicketRing<Config> tickets{base + Layout::tickets_offset, base + Layout::ticket_barriers};

  // fp8: f16(2^-xk) twice of each 32 keys of a tile, 16 bytes apart, which come and leave with its keys.
  SALE_DEVICE u32 scales(const RingPlace &at) const {
    return base + Layout::scales_offset + at.index * Layout::scale_bytes;
  }

  // A word for each warp of the consumer, that goes with the place of a tile of keys.
  SALE_DEVICE u32 exchange(u32 consumer, const RingPlace &at) const {
    return base + Layout::exchange_offset + consumer * Layout::exchange_bytes + at.index * 16;
  }

  // By all threads, before the CTA's first barrier. Copies leave the ones alone.
  SALE_DEVICE void write_ones() const {
    constexpr int blocks = Config::stages * Config::keys_per_step / 32;
    constexpr int words = 8 * 32 / 4; // of a block
    constexpr u32 ones = 0x38383838U;
    for (u32 i = thread_index(); i < blocks * words; i += Config::threads) {
      const u32 block = base + Layout::v_offset + i / words * Layout::value_block_bytes;
      store_shared_4(block + 32 * Config::head_dim + i % words * 4, ones);
    }
    fence_async_proxy();
  }

  // By one thread, before the CTA's first barrier.
  SALE_DEVICE void init() const {
    q.init(consumer_warps);
    k.init(consumer_warps);
    v.init(consumer_warps);
    tickets.init();
    mbarrier_init_fence();
  }
};
