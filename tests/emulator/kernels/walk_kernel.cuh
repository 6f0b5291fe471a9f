// SPDX-License-Identifier: Apache-2.0
// attend's walk over long mask rows, without its attention: what every step gives while it passes through the pipeline.
#pragma once

#include "attend/key_walk.cuh"
#include "device/memory.cuh"

// granules: `room` of each CTA, as key << 2 | keep; count: of each CTA. Grid as attend's.
SALE_KERNEL void SALE_LAUNCH_BOUNDS(Config::threads, 1)
    walk_keys(const AttendArgs args, u32 *granules, u32 *count, int room) {
  using Walk = MaskWalk<Config, 0>;
  constexpr int stages = Config::stages;
  const AttendTile<Config> tile;
  const s64 cta = static_cast<s64>(tile.head) * grid_x() + tile.first_row / AttendTile<Config>::rows;
  Walk walk{MaskRows<Config>(args)};
  typename Walk::Step pending[stages];
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    pending[i] = walk.nothing();
  }
  s32 rounds = 0;
  s32 written = 0;
  do {
    sync_threads();
    pending[stages - 1] = walk.next();
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_step; ++g) {
      const Granule<Config> granule = pending[0].granule(g); // by every thread, as attend does
      if (rounds >= stages - 1) {
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
  if (thread_index() == 0) {
    store_global_4(count + cta, static_cast<u32>(written));
  }
}
