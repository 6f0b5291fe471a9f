// SPDX-License-Identifier: Apache-2.0
// Barriers in shared memory that count arrivals and bytes of asynchronous copies (PTX ISA, "mbarrier"). A barrier is 8
// bytes, 8-byte aligned; its phase completes when all arrivals and all expected bytes have come. sm_90 and newer.
#pragma once

#include "device/types.cuh"

// Phase 0 begins and awaits `count` arrivals, as will every later phase.
SALE_DEVICE void mbarrier_init(u32 barrier, u32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

// Makes the inits visible to the copy engine; a barrier of the threads still has to follow.
SALE_DEVICE void mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Announces `bytes` to come in the current phase, then arrives.
SALE_DEVICE void mbarrier_expect(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

SALE_DEVICE void mbarrier_arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// `count` arrivals at once.
SALE_DEVICE void mbarrier_arrive(u32 barrier, u32 count) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

// Whether the phase of this parity has completed; parity 1 of a fresh barrier counts as complete.
SALE_DEVICE bool mbarrier_test(u32 barrier, u32 parity) {
  u32 r;
  asm volatile(
      "{\n\t.reg .pred p;\n\tmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(r)
      : "r"(barrier), "r"(parity)
      : "memory");
  return r != 0;
}

// Returns when mbarrier_test would say yes.
SALE_DEVICE void mbarrier_wait(u32 barrier, u32 parity) {
  asm volatile(
      "{\n\t.reg .pred p;\n\tWAIT%=:\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n\t@p bra DONE%=;\n\t"
      "bra WAIT%=;\n\tDONE%=:\n\t}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
