// SPDX-License-Identifier: Apache-2.0
// Special registers and barriers (PTX ISA, "Special Registers" and "bar").
#pragma once

#include "device/types.cuh"

SALE_DEVICE u32 thread_index() {
  u32 r;
  asm("mov.u32 %0, %%tid.x;" : "=r"(r));
  return r;
}

SALE_DEVICE u32 lane_index() { return thread_index() & 31U; }

// Volatile, so that a kernel may read them again at its end rather than hold them in registers throughout.
SALE_DEVICE u32 block_x() {
  u32 r;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(r));
  return r;
}

SALE_DEVICE u32 block_y() {
  u32 r;
  asm volatile("mov.u32 %0, %%ctaid.y;" : "=r"(r));
  return r;
}

SALE_DEVICE u32 block_z() {
  u32 r;
  asm volatile("mov.u32 %0, %%ctaid.z;" : "=r"(r));
  return r;
}

SALE_DEVICE u32 grid_x() {
  u32 r;
  asm volatile("mov.u32 %0, %%nctaid.x;" : "=r"(r));
  return r;
}

// All threads of the CTA; orders shared memory among them.
SALE_DEVICE void sync_threads() { asm volatile("bar.sync 0;" ::: "memory"); }
SALE_DEVICE void sync_warp() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }
