// SPDX-License-Identifier: Apache-2.0
// Sums of 64 bits (PTX ISA, "red").
#pragma once

#include "device/types.cuh"

// Orders nothing. The memory may be the host's, if nobody but this device writes it.
SALE_DEVICE void add_global_64(u64 *p, u64 value) {
  asm volatile("red.relaxed.gpu.global.add.u64 [%0], %1;" ::"l"(p), "l"(value) : "memory");
}
