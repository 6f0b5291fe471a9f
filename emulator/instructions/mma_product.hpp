// SPDX-License-Identifier: Apache-2.0
// The product of one m16n8 tile: the emulator's innermost loop.
#pragma once

namespace sale::emulator::mma {

inline constexpr int rows = 16;
inline constexpr int columns = 8;

/// product[row][column] = sum over i < k, in this order, of a[i][row] * b[i][column]. Uses the widest vectors that the
/// machine has: where every single product is exact in the type, they change nothing.
void multiply(const double *a, const double *b, int k, double *product);
void multiply(const float *a, const float *b, int k, float *product);

} // namespace sale::emulator::mma
