// SPDX-License-Identifier: Apache-2.0
// What the oracle's tests share: cases to sweep, slices of tensors, and the slowest possible attention.
#pragma once

#include "reference/mask.hpp"
#include "reference/region.hpp"
#include "reference/select.hpp"
#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <ostream>
#include <string>
#include <vector>

namespace sale::reference::testing {

constexpr Estimator all_estimators[] = {Estimator::exact, Estimator::int8, Estimator::int4, Estimator::fp8};

/// One problem, policy and shape with structured data.
struct Case {
  int head_dim = 64;
  int num_q_heads = 3;
  int num_kv_heads = 1;
  DType dtype = DType::bf16;
  int block_q = 64;
  int block_k = 32;
  int q_len = 1000;
  int kv_len = 1000;
  int batch = 1;
  int sink = 32;
  int window = 128;

  Problem problem() const;
  Policy policy(Estimator estimator = Estimator::exact, float tau = 0.004F) const;
  Shape shape() const { return {batch, q_len, kv_len}; }
  float scale() const { return effective_softmax_scale(problem()); }
  Tensors tensors() const;
};
std::string name_of(const Case &c);
inline std::ostream &operator<<(std::ostream &stream, const Case &c) { return stream << name_of(c); }

/// Lengths that leave blocks to estimate: every head_dim, GQA ratio, dtype and block size occurs.
std::vector<Case> long_cases();
/// Lengths around the sizes of blocks, mostly all in R.
std::vector<Case> short_cases();

/// Estimates from the tensors' own means and thresholds.
Estimates estimates_of(const Tensors &tensors, const Policy &policy, float scale);
Mask mask_of(const Tensors &tensors, const Policy &policy, float scale);

/// Every visible block.
Mask visible_mask(const Policy &policy, const Shape &shape, int num_q_heads);

/// Rows [first, first + count) of the call, with the keys that they can see.
Tensors chunk_of(const Tensors &tensors, int first, int count);
/// One element of the batch.
Tensors batch_element(const Tensors &tensors, int b);
/// K and V repeated so that every query head has its own.
Tensors repeat_kv(const Tensors &tensors);

/// q_i . k_j in fp64.
double score(const Tensors &tensors, int b, int h, int i, int j);

/// Probabilities of row i over all keys in fp64, 0 where the mask (null = dense) or causality forbids.
std::vector<double> probabilities(const Tensors &tensors, double scale, const Mask *mask, const Policy &policy, int b,
                                  int h, int i);

/// Calls visit(b, h, m, j, region) for every query block m and key block j.
template <class Visit>
void for_each_block(const Policy &policy, const Shape &shape, int num_q_heads, Visit visit) {
  for (int b = 0; b < shape.batch; ++b) {
    for (int h = 0; h < num_q_heads; ++h) {
      for (int m = 0; m < ceil_div(shape.q_len, policy.block_q); ++m) {
        const Region region = region_of(policy, shape, m);
        for (int j = 0; j < ceil_div(shape.kv_len, policy.block_k); ++j) {
          visit(b, h, m, j, region);
        }
      }
    }
  }
}

/// The masks differ at most where |margin| <= bound.
void expect_equal_but_for_ties(const Mask &a, const Mask &b, const Margins &margins, double bound);

/// Largest |a - b|; NaN if any is NaN.
double max_difference(const std::vector<float> &a, const std::vector<float> &b);

} // namespace sale::reference::testing
