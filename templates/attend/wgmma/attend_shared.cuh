// SPDX-License-Identifier: Apache-2.0
// Shared memory of wgmma attend, which starts at a multiple of 1024. Rows lie in panels of 128 bytes a row (64 where
// there are no more), swizzled by the copy engine; queries have 16 bits a channel, keys and values 16, or 8 of codes.
#pragma once

#include "attend/wgmma/ring.cuh"
#include "attend/wgmma/tickets.cuh"
#include "attend/wgmma/tile_walk.cuh"
#include "device/shared.cuh"
#include "device/types.cuh"

template <class Config>
struct AttendLayout {
  static constexpr int q_panels = Config::head_dim / 64;
  static constexpr int q_panel_bytes = 64 * 128;
  static constexpr int q_block_bytes = q_panels * q_panel_bytes; // the rows of a consumer
  static constexpr int row_bytes = Config::head_dim * (Config::fp8 ? 1 : 2);
  static constexpr int panel_row_bytes = row_bytes < 128 ? row_bytes : 128;
  static constexpr int panels = row_bytes / panel_row_bytes;
  static constexpr int panel_bytes = Config::keys_per_step * panel_row_bytes;
  static constexpr int tile_bytes = panels * panel_bytes;
  static constexpr int scale_bytes = Config::fp8 ? Config::keys_per_step / 32 * 16 : 0; // beside a tile of keys

  static constexpr int q_codes_bytes = Config::fp8 ? 64 * Config::head_dim : 0; // of a consumer

  using Queries = Ring<1, Config::consumers * q_block_bytes>;
  using Tiles = Ring<Config::stages, tile_bytes>;

  static constexpr int q_codes_offset = Queries::data_bytes;
  static constexpr int k_offset = q_codes_offset + Config::consumers * q_codes_bytes;
  static constexpr int v_offset = k_offset + Tiles::data_bytes;
  static constexpr int scales_offset = v_offset + Tiles::data_bytes;
  static constexpr int tickets_offset = scales_offset + Config::stages * scale_bytes;
  static constexpr int list_offset = tickets_offset + TicketRing<Config>::data_bytes;
  static constexpr int exchange_offset = list_offset + TileWalk<Config>::list_bytes;
  static constexpr int exchange_bytes = Config::filtered ? Config::stages * 16 : 0; // of a consumer: 4 words a place
  static constexpr int q_barriers = exchange_offset + Config::consumers * exchange_bytes;
  static constexpr int k_barriers = q_barriers + Queries::barrier_bytes;
  static constexpr int v_barriers = k_barriers + Tiles::barrier_bytes;
  static constexpr int ticket_barriers = v_barriers + Tiles::barrier_bytes;
  static constexpr int shared_bytes = ticket_barriers + TicketRing<Config>::barrier_bytes;
};

template <class Config>
struct AttendShared {
  using Layout = AttendLayout<Config>;
  static constexpr int consumer_warps = 4 * Config::consumers;

  u32 base = dynamic_shared_address();
  typename Layout::Queries q{base, base + Layout::q_barriers};
  typename Layout::Tiles k{base + Layout::k_offset, base + Layout::k_barriers};
  typename Layout::Tiles v{base + Layout::v_offset, base + Layout::v_barriers};
  TicketRing<Config> tickets{base + Layout::tickets_offset, base + Layout::ticket_barriers};

  // fp8: 2^-xk, -xv and 2^xv of each 32 keys of a tile, which come and leave with its keys.
  SALE_DEVICE u32 scales(const RingPlace &at) const {
    return base + Layout::scales_offset + at.index * Layout::scale_bytes;
  }

  // A word for each warp of the consumer, that goes with the place of a tile of keys.
  SALE_DEVICE u32 exchange(u32 consumer, const RingPlace &at) const {
    return base + Layout::exchange_offset + consumer * Layout::exchange_bytes + at.index * 16;
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
