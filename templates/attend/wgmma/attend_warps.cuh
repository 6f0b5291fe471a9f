// SPDX-License-Identifier: Apache-2.0
// The warps of wgmma attend: persistent CTAs of one warpgroup that loads and consumers that compute, each its own 64
// query rows of one head. Consumers share tiles of kept keys that both keep, and step over the others' tiles.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_shared.cuh"
#include "attend/wgmma/tickets.cuh"
#include "attend/wgmma/tile_loader.cuh"
#include "device/registers.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <class Config, class Rows>
SALE_DEVICE void consume(const AttendWgmmaArgs &args, u32 consumer) {
  TicketRing<Config> tickets = AttendShared<Config>().tickets;
  Rows rows(args, consumer);
  for (;;) {
    const Ticket ticket = tickets.read();
    if (ticket.is_tile()) {
      if (ticket.is_for(consumer)) {
        rows.step(ticket, tickets);
      } else {
        tickets.release();
        rows.pass();
      }
    } else {
      tickets.release();
      rows.finish(ticket.is_stop());
      if (ticket.is_stop()) {
        return;
      }
      rows.begin(ticket.item());
    }
  }
}

// Rows: what a consumer computes. Loads: how its keys and values come.
template <class Config, class Rows, class Loads>
SALE_DEVICE void run_warps(const AttendWgmmaArgs &args) {
  constexpr bool three = Config::consumers == 3;
  static_assert(Config::consumers == 2 || three, "registers for two or three consumers");
  static_assert(!three || !Config::ragged, "row blocks of ragged batches are of 128 rows");
  static_assert(Config::threads == 128 * (1 + Config::consumers), "one warpgroup loads");
  if (thread_index() == 0) {
    AttendShared<Config>().init();
  }
  if constexpr (Config::fp8) {
    AttendShared<Config>().write_ones();
  }
  sync_threads();
  // Shuffled, so that the compiler knows it to be the same in a whole warp.
  const u32 warp = shuffle(thread_index() / 32, 0);
  if (warp < 4) {
    decrease_registers<three ? 32 : 40>();
    if (warp == 0) {
      Planner<Config, Loads>(args).run();
    } else if (warp == 1) {
      load_values<Config, Loads>(args);
    } else if (warp == 2 && Feed<Config>::loads_apart) {
      load_keys<Config, Loads>(args);
    }
  } else {
    increase_registers<three ? 160 : 232>();
    consume<Config, Rows>(args, warp / 4 - 1);
  }
}
