// SPDX-License-Identifier: Apache-2.0
// attend's walk over long mask rows, without its attention: what every step gives while it passes through the pipeline.
#pragma once

#include "attend/key_walk.cuh"
#include "device/memory.cuh"
#include "device/warp.cuh"

// granules: `room` of each CTA, as key << 2 | keep; count: of each CTA, or ~0 where a step changed under way. Grid as
// attend's.
SALE_KERNEL void SALE_LAUNCH_BOUNDS(Config::threads, 1)
    walk_keys(const AttendArgs args, u32 *granules, u32 *count, int room) {
  using Walk = MaskWalk<Config, 0>;
  constexpr int stages = Config::stages;
  const AttendTile<Config> tile(args);
  const s64 cta = static_cast<s64>(tile.head) * grid_x() + tile.first_row / AttendTile<Config>::rows;
  Walk walk{MaskRows<Config>(args)};
  typename Walk::Step pending[stages];
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    pending[i] = walk.nothing();
  }
  s32 rounds = 0;
  s32 written = 0;
  u32 loaded = 0;   // what the steps held when they were loaded,
  u32 computed = 0; // and when they are computed on
  do {
    sync_threads();
    pending[stages - 1] = walk.next();
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_step; ++g) {
      if (!pending[stages - 1].empty()) {
        const Granule<Config> granule = pending[stages - 1].granule(g);
        loaded = loaded * 31 + static_cast<u32>(granule.key) + granule.keep;
      }
      const Granule<Config> granule = pending[0].granule(g);
      if (rounds >= stages - 1) {
        computed = computed * 31 + static_cast<u32>(granule.key) + granule.keep;
        if (thread_index() == 0 && written < room) {
          store_global_4(granules + cta * room + written, static_cast<u32>(granule.key) << 2 | granule.keep);
        }
        written += 1;
      }
    }
    rounds += 1;
#pragma unroll
    for (int i = 0; i < stages - 1; ++i) {
      pending[i] = pending[i + 1];
    }
  } while (!pending[0].empty());
  const bool changed = warp_ballot(loaded != computed) != 0;
  if (thread_index() == 0) {
    store_global_4(count + cta, changed ? ~0U : static_cast<u32>(written));
  }
}
