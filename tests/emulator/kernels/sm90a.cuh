// SPDX-License-Identifier: Apache-2.0
// What the Hopper test kernels share: their warpgroups, and rings of shared-memory stages between the producer and the
// consumers.
#pragma once

#include "device/mbarrier.cuh"
#include "device/math.cuh"
#include "device/named_barrier.cuh"
#include "device/proxy_fence.cuh"
#include "device/registers.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/tensor_copy.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "device/wgmma.cuh"

// Warpgroup 0 loads, the others compute.
struct Warpgroups {
  static constexpr int consumers = 2;
  static constexpr int threads = 128 * (1 + consumers);
  static constexpr int consumer_warps = 4 * consumers;

  // Shuffled, so that the compiler knows it to be the same in a whole warp: branches on it may then hold wgmma.
  static SALE_DEVICE u32 index() { return shuffle(thread_index() / 128, 0); }
  // Row of a 64-row tile whose accumulator fragment starts in this lane: rows row() and row() + 8.
  static SALE_DEVICE s32 row() { return static_cast<s32>(thread_index() % 128 / 32 * 16 + lane_index() / 4); }
};

// One ring's stages in the order in which they are used.
template <int stages>
struct RingPosition {
  u32 stage = 0;
  u32 parity = 0; // of the stage's current phase

  SALE_DEVICE void advance() {
    stage += 1;
    if (stage == stages) {
      stage = 0;
      parity ^= 1U;
    }
  }
};

// `stages` tiles, each with a barrier that says it is full and one that says it is empty.
template <int stages, int tile_bytes>
class Ring {
public:
  using Position = RingPosition<stages>;
  static constexpr int barrier_bytes = 2 * stages * 8;

  SALE_DEVICE Ring(u32 tiles, u32 barriers) : tiles_(tiles), barriers_(barriers) {}

  // By one thread, before the CTA's first barrier.
  SALE_DEVICE void init() const {
    for (u32 stage = 0; stage < stages; ++stage) {
      mbarrier_init(full(stage), 1);
      mbarrier_init(empty(stage), Warpgroups::consumer_warps);
    }
  }

  SALE_DEVICE u32 tile(const Position &at) const { return tiles_ + at.stage * tile_bytes; }
  SALE_DEVICE u32 full(const Position &at) const { return full(at.stage); }

  // Producer: waits until the stage may be overwritten and announces its next tile.
  SALE_DEVICE void acquire(const Position &at) const {
    mbarrier_wait(empty(at.stage), at.parity ^ 1U);
    mbarrier_expect(full(at.stage), tile_bytes);
  }

  // Consumers: the whole warp waits for the tile, and says when it has read it.
  SALE_DEVICE void wait(const Position &at) const { mbarrier_wait(full(at.stage), at.parity); }
  SALE_DEVICE void release(const Position &at) const {
    if (lane_index() == 0) {
      mbarrier_arrive(empty(at.stage));
    }
  }

private:
  SALE_DEVICE u32 full(u32 stage) const { return barriers_ + stage * 8; }
  SALE_DEVICE u32 empty(u32 stage) const { return barriers_ + (stages + stage) * 8; }

  u32 tiles_;
  u32 barriers_;
};
