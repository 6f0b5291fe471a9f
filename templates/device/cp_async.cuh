// SPDX-License-Identifier: Apache-2.0
// Asynchronous global-to-shared copies (PTX ISA, "cp.async").
#pragma once

#include "device/types.cuh"

// Copies 16 bytes past L1; zero-fills the destination when !valid (the source is then not read).
SALE_DEVICE void cp_async_16(u32 shared_dst, const void *global_src, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_dst), "l"(global_src),
               "r"(valid ? 16 : 0)
               : "memory");
}

// Copies 4 bytes; zero-fills when !valid.
SALE_DEVICE void cp_async_4(u32 shared_dst, const void *global_src, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_dst), "l"(global_src), "r"(valid ? 4 : 0)
               : "memory");
}

SALE_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `pending` of this thread's groups are in flight.
template <int pending>
SALE_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
