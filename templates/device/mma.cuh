// SPDX-License-Identifier: Apache-2.0
// Tensor-core products D += A·B of one m16n8 tile whose k spans 32 bytes of each operand (PTX ISA, "mma.sync").
// Fragments have the same byte layout for every type: lane t holds of A rows t/4 and t/4+8, of B column t/4, bytes
// 4(t%4).. of each 16-byte half; of D rows t/4, t/4+8 and columns 2(t%4), 2(t%4)+1.
#pragma once

#include "device/element.cuh"
#include "device/types.cuh"

struct Signed8 {};
struct Signed4 {};

// The accumulator type of each operand type.
template <class Operand>
struct Accumulator {
  using type = f32;
};
template <>
struct Accumulator<Signed8> {
  using type = s32;
};
template <>
struct Accumulator<Signed4> {
  using type = s32;
};

SALE_DEVICE void mma(Bf16, f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

SALE_DEVICE void mma(F16, f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

SALE_DEVICE void mma(Signed8, s32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

SALE_DEVICE void mma(Signed4, s32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k64.row.col.s32.s4.s4.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
