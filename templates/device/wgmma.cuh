// SPDX-License-Identifier: Apache-2.0
// Products of a warpgroup, D (+)= A·B with D of 64 x n, asynchronous (PTX ISA, "wgmma"): k spans 32 bytes of A as
// stored, and twice that of B when A is 2:4 sparse. Warp w of the warpgroup has rows 16w to 16w+15 of D, laid out as
// n/8 tiles of mma.cuh. sm_90a.
#pragma once

#include "device/matrix_descriptor.cuh"
#include "device/mma.cuh"
#include "device/types.cuh"

enum class WgmmaSource { shared, registers };
enum class WgmmaMajor { k, mn };
enum class WgmmaDensity { dense, sparse };

// The generator writes a specialisation for each shape that a kernel uses (generator/wgmma_source.hpp):
//   static void run(Result (&d)[n / 2], A a, u64 b_descriptor, bool accumulate)
// A is `u64 a_descriptor` or `const u32 (&a)[4]`; sparse ones take `u32 metadata` after b_descriptor. Result is f32,
// s32, or F16 with `u32 (&d)[n / 4]`. !accumulate means D = A·B.
template <class Operand, class Result, int n, WgmmaSource a, WgmmaMajor b, WgmmaDensity density>
struct Wgmma;

// Before the first wgmma, and before any that reads or writes registers which other instructions wrote.
SALE_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

SALE_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most `pending` groups are in flight; D and A in registers are untouchable until then.
template <int pending>
SALE_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// After a wait that covers them: keeps the compiler from reading results earlier.
template <int n>
SALE_DEVICE void wgmma_results(f32 (&d)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    asm volatile("" : "+f"(d[i])::"memory");
  }
}

template <int n>
SALE_DEVICE void wgmma_results(u32 (&d)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    asm volatile("" : "+r"(d[i])::"memory");
  }
}
