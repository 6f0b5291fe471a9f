// SPDX-License-Identifier: Apache-2.0
// The warps of wgmma attend that feed the others. One plans: it draws items, walks their tiles and writes tickets.
// Queries and keys it loads itself, or another warp does that follows the tickets. A third loads the values, which are
// needed later and leave later.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/attend_shared.cuh"
#include "attend/wgmma/key_place.cuh"
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
  static constexpr int key_bytes = Layout::k_tile_bytes; // of a tile, in all
  static constexpr int value_bytes = Layout::v_tile_bytes;

  // Ragged: where granules come from.
  static SALE_DEVICE GranulePlace<Config> find_keys(const AttendWgmmaArgs &args, const AttendItem<Config> &item,
                                                    u32 entry) {
    return GranulePlace<Config>::of_keys(args, item, entry);
  }
  static SALE_DEVICE GranulePlace<Config> find_values(const AttendWgmmaArgs &args, const AttendItem<Config> &item,
                                                      u32 entry) {
    return GranulePlace<Config>::of_values(args, item, entry);
  }

  // By lane `lane`, of granule `lane`.
  template <class Source>
  static SALE_DEVICE void keys(const AttendWgmmaArgs &args, const Shared &shared, const RingPlace &place,
                               const AttendItem<Config> &item, u32 lane, const Source &from) {
    load<Layout::k_panels>(shared.k, place, &args.k, item, lane, from);
  }
  template <class Source>
  static SALE_DEVICE void values(const AttendWgmmaArgs &args, const Shared &shared, const RingPlace &place,
                                 const AttendItem<Config> &item, u32 lane, const Source &from) {
    if constexpr (Config::ragged) {
      load<Layout::v_panels>(shared.v, place, from.in_tails() ? &args.v_tail : &args.v, item, lane, from);
    } else {
      load<Layout::v_panels>(shared.v, place, &args.v, item, lane, from);
    }
  }

private:
  template <int panels, class Tiles>
  static SALE_DEVICE void load(const Tiles &tiles, const RingPlace &place, const TensorMap *map,
                               const AttendItem<Config> &item, u32 lane, u32 entry) {
#pragma unroll
    for (int panel = 0; panel < panels; ++panel) {
      tensor_load_4d(tiles.data(place) + panel * Layout::panel_bytes + lane * Granule<Config>::keys * 128, map,
                     tiles.full(place), panel * 64, Granule<Config>::first_key(entry), item.kv_head, item.batch);
    }
  }
  template <int panels, class Tiles>
  static SALE_DEVICE void load(const Tiles &tiles, const RingPlace &place, const TensorMap *map,
                               const AttendItem<Config> &item, u32 lane, const GranulePlace<Config> &from) {
#pragma unroll
    for (int panel = 0; panel < panels; ++panel) {
#pragma unroll
      for (int i = 0; i < KeyBoxes<Config>::per_granule; ++i) {
        const u32 row = lane * Granule<Config>::keys + i * KeyBoxes<Config>::keys;
        tensor_load_4d(tiles.data(place) + panel * Layout::panel_bytes + row * 128, map, tiles.full(place), panel * 64,
                       from.box(i).token, item.kv_head, from.box(i).batch);
      }
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

// Loads what a warp is told of: the queries of items and the keys of their tiles.
template <class Config, class Loads>
class KeyLoader {
  using Layout = AttendLayout<Config>;

public:
  SALE_DEVICE explicit KeyLoader(const AttendWgmmaArgs &args) : args_(args) {}

  SALE_DEVICE void begin(const AttendItem<Config> &item) {
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
                     item.first_token(args_) + lane / Layout::q_panels * 64, item.head, item.query_batch(args_));
    }
    sync_warp();
    q_place_.template advance<1>();
  }

  SALE_DEVICE void tile(const AttendItem<Config> &item, Ticket ticket, u32 entry) {
    if constexpr (Config::ragged) { // before there is a place: the number of a page takes a while to come
      const auto from = Loads::find_keys(args_, item, entry);
      shared_.k.wait_empty(ticket.place());
      load_granules<Config>(shared_.k, ticket.place(), ticket.users(), Loads::key_bytes,
                            [&](u32 lane) { Loads::keys(args_, shared_, ticket.place(), item, lane, from); });
    } else {
      shared_.k.wait_empty(ticket.place());
      load_granules<Config>(shared_.k, ticket.place(), ticket.users(), Loads::key_bytes,
                            [&](u32 lane) { Loads::keys(args_, shared_, ticket.place(), item, lane, entry); });
    }
  }

private:
  const AttendWgmmaArgs &args_;
  AttendShared<Config> shared_;
  RingPlace q_place_;
};

template <class Config, class Loads>
class Planner {
public:
  SALE_DEVICE explicit Planner(const AttendWgmmaArgs &args) : args_(args), keys_(args) {}

  SALE_DEVICE void run() {
    ItemSource source(args_);
    const s32 items = AttendItem<Config>::count(args_);
    for (s32 number = source.first(); number < items; number = source.drawn()) {
      source.draw();
      const AttendItem<Config> item(args_, number);
      if constexpr (Config::ragged) {
        if (!item.exists()) {
          continue;
        }
      }
      // The ticket first: wide queries stay in use until the consumers read it.
      shared_.tickets.put(Ticket::begin(number), 0);
      if constexpr (!Feed<Config>::loads_apart) {
        keys_.begin(item);
      }
      TileWalk<Config>::walk(args_, item, shared_.base + AttendLayout<Config>::list_offset,
                             [&](u32 entry) { put_tile(item, entry); });
    }
    shared_.tickets.put(Ticket::stop(), 0);
  }

private:
  SALE_DEVICE void put_tile(const AttendItem<Config> &item, u32 entry) {
    const bool mine = lane_index() < Granule<Config>::per_tile;
    const u32 keep = Granule<Config>::keep(entry);
    const s32 first_key = Granule<Config>::first_key(entry);
    u32 users = 0;
    u32 masked = 0;
#pragma unroll
    for (int c = 0; c < Config::consumers; ++c) {
      const bool kept = (keep >> c & 1U) != 0;
      users |= static_cast<u32>(warp_any(mine && kept)) << c;
      masked |=
          static_cast<u32>(warp_any(mine && (!kept || !item.seen(args_, c).all(first_key, Granule<Config>::keys))))
          << c;
      if constexpr (Config::ragged) {
        masked |= static_cast<u32>(item.has_foreign_rows(c)) << c;
      }
    }
    // Parities tell two phases of a place apart: who reads this ticket may wait for this tile, so the place's last
    // one, for which not everybody waited, must be there.
    const RingPlace last{place_.index, place_.parity ^ 1U};
    shared_.k.wait_full(last);
    shared_.v.wait_full(last);
    const Ticket ticket = Ticket::tile(place_, users, masked);
    shared_.tickets.put(ticket, entry);
    if constexpr (!Feed<Config>::loads_apart) {
      keys_.tile(item, ticket, entry);
    }
    place_.template advance<Config::stages>();
  }

  const AttendWgmmaArgs &args_;
  AttendShared<Config> shared_;
  KeyLoader<Config, Loads> keys_;
  RingPlace place_;
};

// Calls begin(item) and tile(item, ticket, entry), entry as the planner's, in the order of the tickets.
template <class Config, class Begin, class Tile>
SALE_DEVICE void follow_tickets(const AttendWgmmaArgs &args, const Begin &begin, const Tile &tile) {
  TicketRing<Config> tickets = AttendShared<Config>().tickets;
  AttendItem<Config> item(args, 0);
  for (;;) {
    const Ticket ticket = tickets.read();
    const u32 entry = ticket.is_tile() && lane_index() < Granule<Config>::per_tile ? tickets.entry(lane_index()) : 0;
    tickets.release();
    if (ticket.is_tile()) {
      tile(item, ticket, entry);
    } else if (ticket.is_stop()) {
      return;
    } else {
      item = AttendItem<Config>(args, ticket.item());
      begin(item);
    }
  }
}

template <class Config, class Loads>
SALE_DEVICE void load_keys(const AttendWgmmaArgs &args) {
  KeyLoader<Config, Loads> keys(args);
  follow_tickets<Config>(
      args, [&](const AttendItem<Config> &item) { keys.begin(item); },
      [&](const AttendItem<Config> &item, Ticket ticket, u32 entry) { keys.tile(item, ticket, entry); });
}

template <class Config, class Loads>
SALE_DEVICE void load_values(const AttendWgmmaArgs &args) {
  const AttendShared<Config> shared;
  follow_tickets<Config>(
      args, [](const AttendItem<Config> & /*item*/) {},
      [&](const AttendItem<Config> &item, Ticket ticket, u32 entry) {
        if constexpr (Config::ragged) {
          const auto from = Loads::find_values(args, item, entry);
          shared.v.wait_empty(ticket.place());
          load_granules<Config>(shared.v, ticket.place(), ticket.users(), Loads::value_bytes,
                                [&](u32 lane) { Loads::values(args, shared, ticket.place(), item, lane, from); });
        } else {
          shared.v.wait_empty(ticket.place());
          load_granules<Config>(shared.v, ticket.place(), ticket.users(), Loads::value_bytes,
                                [&](u32 lane) { Loads::values(args, shared, ticket.place(), item, lane, entry); });
        }
      });
}
