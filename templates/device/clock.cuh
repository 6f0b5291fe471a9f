// SPDX-License-Identifier: Apache-2.0
// The GPU's clock (PTX ISA, "%globaltimer").
#pragma once

#include "device/types.cuh"

// One for all multiprocessors; it may move in steps of about a microsecond.
SALE_DEVICE u64 global_nanoseconds() {
  u64 r;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(r));
  return r;
}
