// SPDX-License-Identifier: Apache-2.0
// Integers into narrower lanes of a word (PTX ISA, "cvt.pack", "prmt").
#pragma once

#include "device/types.cuh"

// Four signed integers to bytes, a lowest; saturates.
SALE_DEVICE u32 pack_bytes(s32 a, s32 b, s32 c, s32 d) {
  u32 r;
  asm("{\n\t.reg .b32 t;\n\tcvt.pack.sat.s8.s32.b32 t, %4, %3, 0;\n\tcvt.pack.sat.s8.s32.b32 %0, %2, %1, t;\n\t}"
      : "=r"(r)
      : "r"(a), "r"(b), "r"(c), "r"(d));
  return r;
}

// Byte i of the result is the byte that hexadecimal digit i of the selector names: 0 to 3 of a, 4 to 7 of b.
SALE_DEVICE u32 permute_bytes(u32 a, u32 b, u32 selector) {
  u32 r;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(selector));
  return r;
}
