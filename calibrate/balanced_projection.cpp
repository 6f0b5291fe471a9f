// SPDX-License-Identifier: Apache-2.0
#include "calibrate/balanced_projection.hpp"

#include "reference/means.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sale {

using reference::Tensors;

namespace {

/// Square, row-major.
struct Matrix {
  explicit Matrix(int size_) : size(size_), values(static_cast<std::size_t>(size_) * size_) {}
  double &at(int i, int j) { return values[static_cast<std::size_t>(i) * size + j]; }
  double at(int i, int j) const { return values[static_cast<std::size_t>(i) * size + j]; }
  int size;
  std::vector<double> values;
};

Matrix product(const Matrix &a, const Matrix &b) {
  Matrix c(a.size);
  for (int i = 0; i < a.size; ++i) {
    for (int k = 0; k < a.size; ++k) {
      for (int j = 0; j < a.size; ++j) {
        c.at(i, j) += a.at(i, k) * b.at(k, j);
      }
    }
  }
  return c;
}

Matrix transposed(const Matrix &a) {
  Matrix t(a.size);
  for (int i = 0; i < a.size; ++i) {
    for (int j = 0; j < a.size; ++j) {
      t.at(j, i) = a.at(i, j);
    }
  }
  return t;
}

struct Eigen {
  std::vector<double> values; ///< Descending.
  Matrix vectors;             ///< One a row.
};

/// Of a symmetric matrix, by cyclic Jacobi rotations.
Eigen eigen(Matrix a) {
  const int n = a.size;
  Matrix v(n);
  for (int i = 0; i < n; ++i) {
    v.at(i, i) = 1.0;
  }
  constexpr int sweeps = 12;
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    for (int p = 0; p < n; ++p) {
      for (int q = p + 1; q < n; ++q) {
        if (a.at(p, q) == 0.0) {
          continue;
        }
        const double theta = (a.at(q, q) - a.at(p, p)) / (2.0 * a.at(p, q));
        const double t = std::copysign(1.0, theta) / (std::fabs(theta) + std::sqrt(theta * theta + 1.0));
        const double c = 1.0 / std::sqrt(t * t + 1.0);
        const double s = t * c;
        for (int k = 0; k < n; ++k) {
          const double x = a.at(k, p);
          const double y = a.at(k, q);
          a.at(k, p) = c * x - s * y;
          a.at(k, q) = s * x + c * y;
        }
        for (int k = 0; k < n; ++k) {
          const double x = a.at(p, k);
          const double y = a.at(q, k);
          a.at(p, k) = c * x - s * y;
          a.at(q, k) = s * x + c * y;
          const double vx = v.at(p, k);
          const double vy = v.at(q, k);
          v.at(p, k) = c * vx - s * vy;
          v.at(q, k) = s * vx + c * vy;
        }
      }
    }
  }
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int i, int j) { return a.at(i, i) > a.at(j, j); });
  Eigen result{{}, Matrix(n)};
  for (int i = 0; i < n; ++i) {
    result.values.push_back(a.at(order[i], order[i]));
    for (int k = 0; k < n; ++k) {
      result.vectors.at(i, k) = v.at(order[i], k);
    }
  }
  return result;
}

/// vectors^T diag(f(values)) vectors.
template <class Function>
Matrix function_of(const Eigen &e, Function f) {
  Matrix scaled = e.vectors;
  for (int i = 0; i < scaled.size; ++i) {
    for (int j = 0; j < scaled.size; ++j) {
      scaled.at(i, j) *= f(e.values[i]);
    }
  }
  return product(transposed(e.vectors), scaled);
}

void add_square(Matrix &moments, const float *row, const float *mean) {
  for (int i = 0; i < moments.size; ++i) {
    const double x = row[i] - mean[i];
    for (int j = 0; j < moments.size; ++j) {
      moments.at(i, j) += x * (row[j] - mean[j]);
    }
  }
}

void add_moments(const Tensors &sample, int kv_head, const Policy &policy, Part part, Matrix &queries, Matrix &keys) {
  const std::vector<float> kbar = reference::kbar_of(sample, policy);
  const std::vector<float> zero(sample.head_dim);
  constexpr int token_step = 4; // a quarter of the tokens is enough for second moments
  for (int b = 0; b < sample.shape.batch; ++b) {
    for (int i = 0; i < sample.shape.q_len; i += token_step) {
      for (int h = kv_head * sample.group(); h < (kv_head + 1) * sample.group() && is_in(part, i / policy.block_q);
           ++h) {
        add_square(queries, sample.query(b, h, i), zero.data());
      }
    }
    const float *mean =
        kbar.data() + (static_cast<std::ptrdiff_t>(b) * sample.num_kv_heads + kv_head) * sample.head_dim;
    for (int j = 0; j < sample.shape.kv_len; j += token_step) {
      add_square(keys, sample.key(b, kv_head, j), mean);
    }
  }
}

} // namespace

std::vector<float> balanced_projection(const std::vector<const Tensors *> &samples, const Policy &policy, Part part) {
  const int dim = samples.front()->head_dim;
  const int rank = policy.estimate_dim;
  std::vector<float> result;
  for (int g = 0; g < samples.front()->num_kv_heads; ++g) {
    Matrix queries(dim);
    Matrix keys(dim);
    for (const Tensors *sample : samples) {
      add_moments(*sample, g, policy, part, queries, keys);
    }
    const Eigen eq = eigen(queries);
    const Eigen ek = eigen(keys);
    const auto root = [](double x) { return std::sqrt(std::max(x, 0.0)); };
    // Directions that hold nothing are left out rather than blown up.
    const auto inverse_root = [](double most) {
      return [most](double x) { return x > 1e-10 * most ? 1.0 / std::sqrt(x) : 0.0; };
    };
    const Matrix m = product(function_of(eq, root), function_of(ek, root)); // Sq^1/2 Sk^1/2 = U S V^T
    const Eigen right = eigen(product(transposed(m), m));                   // V and S^2
    // A = S^-1/2 V^T m^T Sq^-1/2 = S^1/2 U^T Sq^-1/2 and B = S^1/2 V^T Sk^-1/2
    const Matrix a = product(product(right.vectors, transposed(m)), function_of(eq, inverse_root(eq.values[0])));
    const Matrix b = product(right.vectors, function_of(ek, inverse_root(ek.values[0])));
    for (const bool of_keys : {false, true}) {
      for (int r = 0; r < rank; ++r) {
        const double s = std::sqrt(std::max(right.values[r], 0.0));
        const double factor = of_keys ? std::sqrt(s) : s > 0.0 ? 1.0 / std::sqrt(s) : 0.0;
        for (int d = 0; d < dim; ++d) {
          result.push_back(static_cast<float>(factor * (of_keys ? b : a).at(r, d)));
        }
      }
    }
  }
  return result;
}

} // namespace sale
