// SPDX-License-Identifier: Apache-2.0
// How a matrix of wgmma lies in shared memory (PTX ISA, "Matrix Descriptor Format").
#pragma once

#include "device/types.cuh"

// The 16-byte pieces of a row are permuted within 128, 64 or 32 bytes, as a tensor copy of that swizzle writes them.
enum class MatrixSwizzle : u32 { none = 0, bytes_128 = 1, bytes_64 = 2, bytes_32 = 3 };

// K-major: `stride_bytes` is from 8 rows to the next 8. Core matrices are 8 rows of 16 bytes; `leading_bytes` is from
// one to the next along k without swizzle, and with it from one pattern to the next, where k of one wgmma is wider (B
// of a sparse A). MN-major with swizzle: `leading_bytes` is from one pattern to the next along m or n, `stride_bytes`
// from 8 k to the next 8; without, the other way round. Patterns start at multiples of 1024, 512 or 256 bytes; an
// address inside the first row of one advances k.
SALE_DEVICE u64 matrix_descriptor(u32 address, u32 leading_bytes, u32 stride_bytes, MatrixSwizzle swizzle) {
  return static_cast<u64>((address & 0x3ffffU) >> 4) | static_cast<u64>((leading_bytes & 0x3ffffU) >> 4) << 16 |
         static_cast<u64>((stride_bytes & 0x3ffffU) >> 4) << 32 | static_cast<u64>(swizzle) << 62;
}
