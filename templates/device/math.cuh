// SPDX-License-Identifier: Apache-2.0
// fp32 arithmetic with explicit rounding: the .rn forms are never contracted into fma (PTX ISA, "Floating Point
// Instructions").
#pragma once

#include "device/types.cuh"

SALE_DEVICE u32 float_bits(f32 x) {
  u32 r;
  asm("mov.b32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

SALE_DEVICE f32 bits_float(u32 x) {
  f32 r;
  asm("mov.b32 %0, %1;" : "=f"(r) : "r"(x));
  return r;
}

SALE_DEVICE f32 infinity() { return bits_float(0x7f800000U); }
SALE_DEVICE f32 log2_of_e() { return 1.4426950408889634F; }
SALE_DEVICE f32 ln_of_2() { return 0.6931471805599453F; }

SALE_DEVICE f32 add_rn(f32 a, f32 b) {
  f32 r;
  asm("add.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

SALE_DEVICE f32 sub_rn(f32 a, f32 b) {
  f32 r;
  asm("sub.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

SALE_DEVICE f32 mul_rn(f32 a, f32 b) {
  f32 r;
  asm("mul.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

SALE_DEVICE f32 div_rn(f32 a, f32 b) {
  f32 r;
  asm("div.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

SALE_DEVICE f32 fma_rn(f32 a, f32 b, f32 c) {
  f32 r;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(r) : "f"(a), "f"(b), "f"(c));
  return r;
}

SALE_DEVICE f32 sqrt_rn(f32 x) {
  f32 r;
  asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// max_f32 and min_f32 return the other operand when one is NaN; max_nan returns NaN.
SALE_DEVICE f32 max_f32(f32 a, f32 b) {
  f32 r;
  asm("max.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

SALE_DEVICE f32 min_f32(f32 a, f32 b) {
  f32 r;
  asm("min.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

SALE_DEVICE f32 max_nan(f32 a, f32 b) {
  f32 r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

SALE_DEVICE f32 abs_f32(f32 a) {
  f32 r;
  asm("abs.f32 %0, %1;" : "=f"(r) : "f"(a));
  return r;
}

// 2^x; flushes subnormal results to zero, 2^-inf = 0.
SALE_DEVICE f32 exp2_approx(f32 x) {
  f32 r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// log2(x); log2(0) = -inf.
SALE_DEVICE f32 log2_approx(f32 x) {
  f32 r;
  asm("lg2.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

SALE_DEVICE f32 rcp_approx(f32 x) {
  f32 r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// Nearest integer, ties to even, saturating; NaN gives 0.
SALE_DEVICE s32 to_int_rn(f32 x) {
  s32 r;
  asm("cvt.rni.s32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

SALE_DEVICE f32 to_float_rn(s32 x) {
  f32 r;
  asm("cvt.rn.f32.s32 %0, %1;" : "=f"(r) : "r"(x));
  return r;
}

SALE_DEVICE s32 count_bits(u32 x) {
  s32 r;
  asm("popc.b32 %0, %1;" : "=r"(r) : "r"(x));
  return r;
}

// Number of the lowest bit that is set; 32 for none.
SALE_DEVICE s32 lowest_bit(u32 x) { return count_bits(~x & (x - 1)); }
