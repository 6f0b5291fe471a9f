// SPDX-License-Identifier: Apache-2.0
// Places in shared memory that some warps fill and others read, used in turn: each with a barrier that says it is full
// and one that says it is empty.
#pragma once

#include "device/mbarrier.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

struct RingPlace {
  u32 index = 0;
  u32 parity = 0; // of the place's current phase

  template <int places>
  SALE_DEVICE void advance() {
    index += 1;
    if (index == places) {
      index = 0;
      parity ^= 1U;
    }
  }
};

template <int places, int place_bytes>
class Ring {
public:
  static constexpr int data_bytes = places * place_bytes;
  static constexpr int barrier_bytes = places * 16;

  SALE_DEVICE Ring(u32 data, u32 barriers) : data_(data), barriers_(barriers) {}

  // By one thread, before the CTA's first barrier; `readers` arrivals empty a place.
  SALE_DEVICE void init(u32 readers) const {
    for (u32 place = 0; place < places; ++place) {
      mbarrier_init(barriers_ + place * 16, 1);
      mbarrier_init(barriers_ + place * 16 + 8, readers);
    }
  }

  SALE_DEVICE u32 data(const RingPlace &at) const { return data_ + at.index * place_bytes; }
  SALE_DEVICE u32 full(const RingPlace &at) const { return barriers_ + at.index * 16; }
  SALE_DEVICE u32 empty(const RingPlace &at) const { return full(at) + 8; }

  SALE_DEVICE void wait_empty(const RingPlace &at) const { mbarrier_wait(empty(at), at.parity ^ 1U); }
  SALE_DEVICE void wait_full(const RingPlace &at) const { mbarrier_wait(full(at), at.parity); }
  // By whole warps, when all their lanes have read the place.
  SALE_DEVICE void release(const RingPlace &at) const {
    sync_warp();
    if (lane_index() == 0) {
      mbarrier_arrive(empty(at));
    }
  }

private:
  u32 data_;
  u32 barriers_;
};
