// SPDX-License-Identifier: Apache-2.0
#include "tests/reference/support.hpp"

#include "reference/means.hpp"
#include "reference/synthetic.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale::reference::testing {

Problem Case::problem() const {
  Problem problem;
  problem.dtype = dtype;
  problem.head_dim = head_dim;
  problem.num_q_heads = num_q_heads;
  problem.num_kv_heads = num_kv_heads;
  return problem;
}

Policy Case::policy(Estimator estimator, float tau) const {
  Policy policy;
  policy.estimator = estimator;
  policy.tau = tau;
  policy.block_q = block_q;
  policy.block_k = block_k;
  policy.sink = sink;
  policy.window = window;
  return policy;
}

Tensors Case::tensors() const { return structured(problem(), shape(), 7); }

std::string name_of(const Case &c) {
  return fmt::format("d{}_heads{}of{}_{}_q{}_k{}_{}of{}_batch{}_sink{}_window{}", c.head_dim, c.num_q_heads,
                     c.num_kv_heads, to_string(c.dtype), c.block_q, c.block_k, c.q_len, c.kv_len, c.batch, c.sink,
                     c.window);
}

std::vector<Case> long_cases() {
  const DType bf16 = DType::bf16;
  const DType f16 = DType::f16;
  return {
      {64, 1, 1, bf16, 64, 32, 1000, 1000},
      {128, 3, 1, bf16, 64, 64, 1025, 1025},
      {96, 4, 1, f16, 128, 32, 700, 1025},
      {256, 7, 1, f16, 64, 128, 127, 1000},
      {64, 6, 2, f16, 128, 128, 1087, 1087, 1, 0, 0},
      {64, 2, 2, bf16, 64, 32, 1, 1025, 2},
      {128, 3, 1, bf16, 128, 64, 333, 997, 2, 5, 77},
      {64, 3, 1, f16, 64, 32, 65, 1023, 1, 40, 1},
  };
}

std::vector<Case> short_cases() {
  std::vector<Case> cases;
  for (const int length : {1, 31, 32, 33, 63, 64, 65, 127, 128, 129}) {
    cases.push_back({64, 3, 1, DType::bf16, 64, 32, length, length});
    cases.push_back({96, 4, 4, DType::f16, 128, 64, length, length + 57, 2, 1, 0});
    cases.push_back({64, 1, 1, DType::bf16, 64, 128, (length + 1) / 2, length, 1, 0, 31});
  }
  return cases;
}

Estimates estimates_of(const Tensors &tensors, const Policy &policy, float scale) {
  return prepare_estimates(tensors, policy, scale, mean_keys(tensors), mean_queries(tensors),
                           thresholds(tensors, policy, scale).value);
}

Mask mask_of(const Tensors &tensors, const Policy &policy, float scale) {
  return select(tensors, policy, estimates_of(tensors, policy, scale));
}

Mask visible_mask(const Policy &policy, const Shape &shape, int num_q_heads) {
  Mask mask(shape, num_q_heads, policy.block_q, policy.block_k);
  for (int b = 0; b < shape.batch; ++b) {
    for (int h = 0; h < num_q_heads; ++h) {
      for (int i = 0; i < shape.q_len; ++i) {
        for (int j = 0; j <= shape.kv_len - shape.q_len + i; ++j) {
          mask.set(b, h, i / policy.block_q, j / policy.block_k);
        }
      }
    }
  }
  return mask;
}

Tensors chunk_of(const Tensors &tensors, int first, int count) {
  Tensors chunk = tensors;
  const int keys = tensors.position(first) + count;
  chunk.shape = {tensors.shape.batch, count, keys};
  chunk.q.clear();
  chunk.k.clear();
  chunk.v.clear();
  const auto append = [&](std::vector<float> &to, const float *first_row, std::ptrdiff_t rows) {
    to.insert(to.end(), first_row, first_row + rows * tensors.head_dim);
  };
  for (int b = 0; b < tensors.shape.batch; ++b) {
    for (int h = 0; h < tensors.num_q_heads; ++h) {
      append(chunk.q, tensors.query(b, h, first), count);
    }
    for (int g = 0; g < tensors.num_kv_heads; ++g) {
      append(chunk.k, tensors.key(b, g, 0), keys);
      append(chunk.v, tensors.value(b, g, 0), keys);
    }
  }
  return chunk;
}

Tensors batch_element(const Tensors &tensors, int b) {
  Tensors element = tensors;
  element.shape.batch = 1;
  const auto part = [&](const std::vector<float> &values) {
    const auto size = static_cast<std::ptrdiff_t>(values.size()) / tensors.shape.batch;
    return std::vector<float>(values.begin() + b * size, values.begin() + (b + 1) * size);
  };
  element.q = part(tensors.q);
  element.k = part(tensors.k);
  element.v = part(tensors.v);
  return element;
}

Tensors repeat_kv(const Tensors &tensors) {
  Tensors repeated = tensors;
  repeated.num_kv_heads = tensors.num_q_heads;
  repeated.k.clear();
  repeated.v.clear();
  const int size = tensors.shape.kv_len * tensors.head_dim;
  for (int b = 0; b < tensors.shape.batch; ++b) {
    for (int h = 0; h < tensors.num_q_heads; ++h) {
      const int g = tensors.kv_head(h);
      repeated.k.insert(repeated.k.end(), tensors.key(b, g, 0), tensors.key(b, g, 0) + size);
      repeated.v.insert(repeated.v.end(), tensors.value(b, g, 0), tensors.value(b, g, 0) + size);
    }
  }
  return repeated;
}

double score(const Tensors &tensors, int b, int h, int i, int j) {
  const float *q = tensors.query(b, h, i);
  const float *k = tensors.key(b, tensors.kv_head(h), j);
  double sum = 0;
  for (int d = 0; d < tensors.head_dim; ++d) {
    sum += static_cast<double>(q[d]) * k[d];
  }
  return sum;
}

std::vector<double> probabilities(const Tensors &tensors, double scale, const Mask *mask, const Policy &policy, int b,
                                  int h, int i) {
  std::vector<double> logits(tensors.shape.kv_len, -std::numeric_limits<double>::infinity());
  for (int j = 0; j <= tensors.position(i); ++j) {
    if (mask == nullptr || mask->test(b, h, i / policy.block_q, j / policy.block_k)) {
      logits[j] = scale * score(tensors, b, h, i, j);
    }
  }
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double &x : logits) {
    x = std::exp(x - max);
    sum += x;
  }
  for (double &x : logits) {
    x /= sum;
  }
  return logits;
}

void expect_equal_but_for_ties(const Mask &a, const Mask &b, const Margins &margins, double bound) {
  for (int i = 0; i < a.batch(); ++i) {
    for (int h = 0; h < a.num_q_heads(); ++h) {
      for (int m = 0; m < a.q_blocks(); ++m) {
        for (int j = 0; j < a.k_blocks(); ++j) {
          if (a.test(i, h, m, j) != b.test(i, h, m, j)) {
            EXPECT_LE(std::fabs(margins.at(i, h, m, j)), bound)
                << "batch " << i << " head " << h << " query block " << m << " key block " << j;
          }
        }
      }
    }
  }
}

double max_difference(const std::vector<float> &a, const std::vector<float> &b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = a[i] == b[i] ? 0.0 : std::fabs(static_cast<double>(a[i]) - b[i]);
    largest = std::isnan(difference) || difference > largest ? difference : largest;
  }
  return largest;
}

} // namespace sale::reference::testing
