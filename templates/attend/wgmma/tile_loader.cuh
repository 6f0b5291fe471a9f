// SPDX-License-Identifier: Apache-2.0
// The two loading warps of wgmma attend. One plans: it draws items, loads their queries, walks their tiles, tells the
// other warps and loads the keys. The other loads the values, which are needed later and leave later.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/attend_shared.cuh"
#include "attend/wgmma/tickets.cuh"
#include "attend/wgmma/tile_walk.cuh"
#include "device/mbarrier.cuh"
#include "device/special.cuh"
#include "device/tensor_copy.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

// How 16-bit keys and values come: one copy a panel and granule.
template <class Config>
struct ElementLoads {
  using Layout = AttendLayout<Config>;
  using Shared = AttendShared<Config>;
  static constexpr int key_bytes = Layout::tile_bytes; // of a tile, in all
  static constexpr int value_bytes = Layout::tile_bytes;

  // By lane `lane`, of granule `lane`.
  static SALE_DEVICE void keys(const AttendWgmmaArgs &args, const Shared &shared, const RingPlace &place,
                               const AttendItem<Config> &item, u32 lane, u32 entry) {
    load(shared.k, place, &args.k, item, lane, entry);
  }
  static SALE_DEVICE void values(const AttendWgmmaArgs &args, const Shared &shared, const RingPlace &place,
                                 const AttendItem<Config> &item, u32 lane, u32 entry) {
    load(shared.v, place, &args.v, item, lane, entry);
  }

private:
  static SALE_DEVICE void load(const typename Layout::Tiles &tiles, const RingPlace &place, const TensorMap *map,
                               const AttendItem<Config> &item, u32 lane, u32 entry) {
#pragma unroll
    for (int panel = 0; panel < Layout::panels; ++panel) {
      tensor_load_4d(tiles.data(place) + panel * Layout::panel_bytes + lane * Granule<Config>::keys * 128, map,
                     tiles.full(place), panel * 64, Granule<Config>::first_key(entry), item.kv_head, item.batch);
    }
  }
};

// Has a tile loaded, `bytes` in all; load(lane) loads granule `lane`. Consumers that do not use the tile never touch
// the place: they are taken to have left it.
template <class Config, class Tiles, class Load>
SALE_DEVICE void load_granules(const Tiles &tiles, const RingPlace &place, u32 users, int bytes, const Load &load) {
  constexpr u32 all = (1U << Config::consumers) - 1;
  const u32 lane = lane_index();
  if (lane == 0) {
    if (users != all) {
      mbarrier_arrive(tiles.empty(place), 4 * static_cast<u32>(count_bits(all & ~users)));
    }
    mbarrier_expect(tiles.full(place), static_cast<u32>(bytes));
  }
  sync_warp();
  if (lane < Granule<Config>::per_tile) {
    load(lane);
  }
  sync_warp();
}

template <class Config, class Loads>
class Planner {
  using Layout = AttendLayout<Config>;

public:
  SALE_DEVICE explicit Planner(const AttendWgmmaArgs &args) : args_(args) {}

  SALE_DEVICE void run() {
    ItemSource source(args_);
    const s32 items = AttendItem<Config>::count(args_);
    for (s32 number = source.first(); number < items; number = source.drawn()) {
      source.draw();
      const AttendItem<Config> item(args_, number);
      // The ticket first: wide queries stay in use until the consumers read it.
      shared_.tickets.put(Ticket::begin(number), 0);
      load_queries(item);
      TileWalk<Config>::walk(args_, item, shared_.base + Layout::list_offset,
                             [&](u32 entry) { put_tile(item, entry); });
    }
    shared_.tickets.put(Ticket::stop(), 0);
  }

private:
  SALE_DEVICE void load_queries(const AttendItem<Config> &item) {
    constexpr int boxes = Config::consumers * Layout::q_panels;
    const s32 lane = static_cast<s32>(lane_index());
    shared_.q.wait_empty(q_place_);
    if (lane == 0) {
      mbarrier_expect(shared_.q.full(q_place_), boxes * Layout::q_panel_bytes);
    }
    sync_warp();
    if (lane < boxes) {
      tensor_load_4d(shared_.q.data(q_place_) + static_cast<u32>(lane) * Layout::q_panel_bytes, &args_.q,
                     shared_.q.full(q_place_), lane % Layout::q_panels * 64,
                     item.first_row + lane / Layout::q_panels * 64, item.head, item.batch);
    }
    sync_warp();
    q_place_.template advance<1>();
  }

  SALE_DEVICE void put_tile(const AttendItem<Config> &item, u32 entry) {
    const bool mine = lane_index() < Granule<Config>::per_tile;
    const u32 keep = Granule<Config>::keep(entry);
    const s32 last_key = Granule<Config>::first_key(entry) + Granule<Config>::keys - 1;
    u32 users = 0;
    u32 masked = 0;
#pragma unroll
    for (int c = 0; c < Config::consumers; ++c) {
      const bool kept = (keep >> c & 1U) != 0;
      users |= static_cast<u32>(warp_any(mine && kept)) << c;
      masked |= static_cast<u32>(warp_any(mine && (!kept || last_key > item.position + c * 64))) << c;
    }
    shared_.k.wait_empty(k_place_);
    // Parities tell two phases of a place apart: who reads this ticket may wait for the values of this tile, so those
    // of the place's last tile, for which not everybody waited, must be there.
    shared_.v.wait_full({v_place_.index, v_place_.parity ^ 1U});
    shared_.tickets.put(Ticket::tile(k_place_, v_place_, users, masked), entry);
    load_granules<Config>(shared_.k, k_place_, users, Loads::key_bytes,
                          [&](u32 lane) { Loads::keys(args_, shared_, k_place_, item, lane, entry); });
    k_place_.template advance<Config::stages>();
    v_place_.template advance<Config::stages>();
  }

  const AttendWgmmaArgs &args_;
  AttendShared<Config> shared_;
  RingPlace q_place_;
  RingPlace k_place_;
  RingPlace v_place_;
};

template <class Config, class Loads>
SALE_DEVICE void load_values(const AttendWgmmaArgs &args) {
  AttendShared<Config> shared;
  AttendItem<Config> item(args, 0);
  for (;;) {
    const Ticket ticket = shared.tickets.read();
    const u32 entry =
        ticket.is_tile() && lane_index() < Granule<Config>::per_tile ? shared.tickets.entry(lane_index()) : 0;
    shared.tickets.release();
    if (ticket.is_tile()) {
      shared.v.wait_empty(ticket.values_place());
      load_granules<Config>(shared.v, ticket.values_place(), ticket.users(), Loads::value_bytes,
                            [&](u32 lane) { Loads::values(args, shared, ticket.values_place(), item, lane, entry); });
    } else if (ticket.is_stop()) {
      return;
    } else {
      item = AttendItem<Config>(args, ticket.item());
    }
  }
}
