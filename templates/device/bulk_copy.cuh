// SPDX-License-Identifier: Apache-2.0
// Asynchronous copies of contiguous bytes by the copy engine (PTX ISA, "cp.async.bulk"): one thread issues, addresses
// and sizes are multiples of 16. sm_90 and newer.
#pragma once

#include "device/types.cuh"

// Global to shared; counts its bytes on the mbarrier.
SALE_DEVICE void bulk_load(u32 shared_dst, const void *global_src, u32 bytes, u32 barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_dst),
      "l"(global_src), "r"(bytes), "r"(barrier)
      : "memory");
}

// Shared to global; joins this thread's open bulk group.
SALE_DEVICE void bulk_store(void *global_dst, u32 shared_src, u32 bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(global_dst), "r"(shared_src),
               "r"(bytes)
               : "memory");
}

SALE_DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Waits until at most `pending` of this thread's bulk groups are incomplete.
template <int pending>
SALE_DEVICE void bulk_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(pending) : "memory");
}

// As bulk_wait, for the reads alone: the shared source may then be overwritten.
template <int pending>
SALE_DEVICE void bulk_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}
