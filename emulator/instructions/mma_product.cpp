// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/mma_product.hpp"

#if defined(__x86_64__)
#define SALE_WIDEST_VECTORS __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define SALE_WIDEST_VECTORS
#endif

namespace sale::emulator::mma {

namespace {

template <class T>
[[gnu::always_inline]] inline void multiply_blocks(const T *a, const T *b, int k, T *product) {
  constexpr int block = 4; // rows whose sums fit the registers
  for (int first = 0; first < rows; first += block) {
    T sum[block][columns] = {};
    for (int i = 0; i < k; ++i) {
      for (int row = 0; row < block; ++row) {
        const T x = a[i * rows + first + row];
        for (int column = 0; column < columns; ++column) {
          sum[row][column] += x * b[i * columns + column];
        }
      }
    }
    for (int row = 0; row < block; ++row) {
      for (int column = 0; column < columns; ++column) {
        product[(first + row) * columns + column] = sum[row][column];
      }
    }
  }
}

} // namespace

SALE_WIDEST_VECTORS void multiply(const double *a, const double *b, int k, double *product) {
  multiply_blocks(a, b, k, product);
}

SALE_WIDEST_VECTORS void multiply(const float *a, const float *b, int k, float *product) {
  multiply_blocks(a, b, k, product);
}

} // namespace sale::emulator::mma
