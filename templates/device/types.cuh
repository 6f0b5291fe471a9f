// SPDX-License-Identifier: Apache-2.0
// Fixed-width names and the function attributes that NVRTC, nvcc and clang spell differently.
#pragma once

using u8 = unsigned char;
using u32 = unsigned int;
using s32 = int;
using s64 = long long;
using u64 = unsigned long long;
using f32 = float;

#if defined(__clang__) && defined(__CUDA__)
#define SALE_DEVICE __attribute__((device)) __attribute__((always_inline)) inline
#define SALE_KERNEL extern "C" __attribute__((global))
#define SALE_LAUNCH_BOUNDS(threads, min_ctas) __attribute__((launch_bounds(threads, min_ctas)))
#define SALE_SHARED __attribute__((shared))
#define SALE_GRID_CONSTANT
#else
#define SALE_DEVICE __device__ __forceinline__
#define SALE_KERNEL extern "C" __global__
#define SALE_LAUNCH_BOUNDS(threads, min_ctas) __launch_bounds__(threads, min_ctas)
#define SALE_SHARED __shared__
#define SALE_GRID_CONSTANT __grid_constant__
#endif

// Sixteen bytes: the unit of every vector access and cp.async.
struct alignas(16) Vec16 {
  u32 word[4];
};

template <int value, int multiple>
struct RoundUp {
  static constexpr int result = (value + multiple - 1) / multiple * multiple;
};

SALE_DEVICE s32 ceil_div(s32 a, s32 b) { return (a + b - 1) / b; }
SALE_DEVICE s32 imin(s32 a, s32 b) { return a < b ? a : b; }
SALE_DEVICE s32 imax(s32 a, s32 b) { return a > b ? a : b; }
