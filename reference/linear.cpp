// SPDX-License-Identifier: Apache-2.0
#include "reference/linear.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace sale::reference {

void multiply_add(const double *a, int depth, const double *b, int width, double *__restrict y) {
  int k = 0;
  // Four terms at a time, so that y is loaded and stored a quarter as often.
  for (; k + 4 <= depth; k += 4) {
    const double *b0 = b + static_cast<std::ptrdiff_t>(k) * width;
    const double *b1 = b0 + width;
    const double *b2 = b1 + width;
    const double *b3 = b2 + width;
    for (int n = 0; n < width; ++n) {
      y[n] += (a[k] * b0[n] + a[k + 1] * b1[n]) + (a[k + 2] * b2[n] + a[k + 3] * b3[n]);
    }
  }
  for (; k < depth; ++k) {
    const double *row = b + static_cast<std::ptrdiff_t>(k) * width;
    for (int n = 0; n < width; ++n) {
      y[n] += a[k] * row[n];
    }
  }
}

void KeyTile::load(const float *keys, int count, int head_dim) {
  count_ = count;
  head_dim_ = head_dim;
  transposed_.resize(static_cast<std::size_t>(count) * head_dim);
  for (int j = 0; j < count; ++j) {
    for (int d = 0; d < head_dim; ++d) {
      transposed_[static_cast<std::size_t>(d) * count + j] = keys[static_cast<std::ptrdiff_t>(j) * head_dim + d];
    }
  }
}

void KeyTile::scores(const double *q, double *scores) const {
  std::fill_n(scores, count_, 0.0);
  multiply_add(q, head_dim_, transposed_.data(), count_, scores);
}

float canonical_dot(const float *a, const float *b, int head_dim) {
  std::array<float, 8> p{};
  for (int d = 0; d < head_dim; ++d) {
    float &partial = p[(d / 8) % 8];
    partial = std::fma(a[d], b[d], partial);
  }
  return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

} // namespace sale::reference
