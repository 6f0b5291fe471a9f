// SPDX-License-Identifier: Apache-2.0
// The CTA's barriers 1 to 15, for some of its warps (PTX ISA, "bar"). `threads` is a multiple of 32 and counts those
// that sync and those that only arrive; barrier 0 is sync_threads().
#pragma once

#include "device/types.cuh"

SALE_DEVICE void barrier_sync(u32 id, u32 threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Does not wait.
SALE_DEVICE void barrier_arrive(u32 id, u32 threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
