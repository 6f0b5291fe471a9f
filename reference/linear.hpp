// SPDX-License-Identifier: Apache-2.0
// The inner products of the oracle: exact scores in fp64, and canonical_dot of docs/numerics.md section 4.
#pragma once

#include <vector>

namespace sale::reference {

/// y[n] += sum over k of a[k] * b[k][n], for n < width, in fp64; b is row-major with rows of `width`.
void multiply_add(const double *a, int depth, const double *b, int width, double *y);

/// A few consecutive keys of one head, transposed so that a row's scores against all of them vectorise.
class KeyTile {
public:
  void load(const float *keys, int count, int head_dim);
  int count() const { return count_; }
  /// scores[j] = q . key_j in fp64, j < count().
  void scores(const double *q, double *scores) const;

private:
  int count_ = 0;
  int head_dim_ = 0;
  std::vector<double> transposed_; // [head_dim, count]
};

/// fp32 with the order of additions fixed; head_dim is a multiple of 8.
float canonical_dot(const float *a, const float *b, int head_dim);

} // namespace sale::reference
