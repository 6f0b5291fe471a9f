// SPDX-License-Identifier: Apache-2.0
// Fragment stores: 8x8 tiles of 16-bit elements, lane i giving the address of row i%8 of tile i/8 (PTX ISA,
// "stmatrix"). sm_90 and newer.
#pragma once

#include "device/types.cuh"

SALE_DEVICE void stmatrix_x2(u32 row_address, const u32 (&r)[2]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(row_address), "r"(r[0]), "r"(r[1])
               : "memory");
}

SALE_DEVICE void stmatrix_x2_trans(u32 row_address, const u32 (&r)[2]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(row_address), "r"(r[0]), "r"(r[1])
               : "memory");
}

SALE_DEVICE void stmatrix_x4(u32 row_address, const u32 (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row_address), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

SALE_DEVICE void stmatrix_x4_trans(u32 row_address, const u32 (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row_address), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}
