// SPDX-License-Identifier: Apache-2.0
// Moves registers between the warpgroups of a CTA (PTX ISA, "setmaxnreg"): all warps of a warpgroup call it; n is a
// multiple of 8 from 24 to 256. sm_90a.
#pragma once

#include "device/types.cuh"

// Waits until the CTA's pool has them.
template <int n>
SALE_DEVICE void increase_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
}

template <int n>
SALE_DEVICE void decrease_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
}
