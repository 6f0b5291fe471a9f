// SPDX-License-Identifier: Apache-2.0
// Arithmetic on two f16 in one word (PTX ISA, "Half Precision Floating Point Instructions").
#pragma once

#include "device/types.cuh"

// The other operand where one is NaN. Three in a chain become one instruction of three operands.
SALE_DEVICE u32 max_half2(u32 a, u32 b) {
  u32 r;
  asm("max.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}

SALE_DEVICE u32 mul_half2(u32 a, u32 b) {
  u32 r;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}

SALE_DEVICE u32 sub_half2(u32 a, u32 b) {
  u32 r;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}

// A NaN result has its sign bit clear.
SALE_DEVICE u32 fma_half2(u32 a, u32 b, u32 c) {
  u32 r;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
  return r;
}
