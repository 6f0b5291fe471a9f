// SPDX-License-Identifier: Apache-2.0
#include "reference/metrics.hpp"

#include "reference/attend.hpp"
#include "reference/region.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace sale::reference {

namespace {

double ratio(double part, double whole) { return whole == 0.0 ? 0.0 : part / whole; }

Mask outside_reference(const Mask &mask, const Policy &policy, const Tensors &tensors) {
  Mask result = mask;
  for (int b = 0; b < mask.batch(); ++b) {
    for (int h = 0; h < mask.num_q_heads(); ++h) {
      for (int m = 0; m < mask.q_blocks(); ++m) {
        const Region region = region_of(policy, tensors, m);
        for (int j = 0; j < mask.k_blocks(); ++j) {
          result.set(b, h, m, j, mask.test(b, h, m, j) && region.estimated(j));
        }
      }
    }
  }
  return result;
}

/// Dense softmax mass inside `mask`, summed over the rows of each head.
std::vector<double> mass_per_head(const Tensors &tensors, const Policy &policy, float scale, const Mask &mask,
                                  const std::vector<double> &lse_dense) {
  Tensors keys_only; // a sink's mass is not that of a block
  if (!tensors.sink_logits.empty()) {
    keys_only = tensors;
    keys_only.sink_logits.clear();
  }
  const std::vector<double> lse =
      log_sum_exp(tensors.sink_logits.empty() ? tensors : keys_only, scale, &mask, policy.block_q, policy.block_k);
  std::vector<double> mass(tensors.num_q_heads);
  for (std::size_t row = 0; row < lse.size(); ++row) {
    mass[(row / tensors.shape.q_len) % tensors.num_q_heads] += std::exp(lse[row] - lse_dense[row]);
  }
  return mass;
}

} // namespace

Density density(const Mask &mask, const Policy &policy, const Shape &shape) {
  return density(mask, policy, Problem(), shape);
}

Density density(const Mask &mask, const Policy &policy, const Problem &problem, const Shape &shape) {
  std::vector<double> kept(mask.num_q_heads());
  double kept_estimated = 0;
  double visible = 0; // per head and batch element
  double estimated = 0;
  for (int m = 0; m < mask.q_blocks(); ++m) {
    const Region region = region_of(policy, problem, shape, m);
    visible += region.visible_count();
    estimated += region.estimated_count();
    for (int b = 0; b < mask.batch(); ++b) {
      for (int h = 0; h < mask.num_q_heads(); ++h) {
        for (int j = region.first_visible; j < region.visible_blocks; ++j) {
          const double bit = mask.test(b, h, m, j) ? 1 : 0;
          kept[h] += bit;
          kept_estimated += region.estimated(j) ? bit : 0;
        }
      }
    }
  }
  Density result;
  const double heads = static_cast<double>(mask.batch()) * mask.num_q_heads();
  result.total = ratio(std::accumulate(kept.begin(), kept.end(), 0.0), visible * heads);
  result.estimated = ratio(kept_estimated, estimated * heads);
  for (const double blocks : kept) {
    result.per_head.push_back(ratio(blocks, visible * mask.batch()));
  }
  return result;
}

double rel_l1(const std::vector<float> &out, const std::vector<float> &dense) {
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < dense.size(); ++i) {
    difference += std::fabs(static_cast<double>(out[i]) - dense[i]);
    size += std::fabs(static_cast<double>(dense[i]));
  }
  return ratio(difference, size);
}

double cosine(const std::vector<float> &out, const std::vector<float> &dense) {
  double dot = 0;
  double out_squared = 0;
  double dense_squared = 0;
  for (std::size_t i = 0; i < dense.size(); ++i) {
    dot += static_cast<double>(out[i]) * dense[i];
    out_squared += static_cast<double>(out[i]) * out[i];
    dense_squared += static_cast<double>(dense[i]) * dense[i];
  }
  return ratio(dot, std::sqrt(out_squared) * std::sqrt(dense_squared));
}

Recall recall(const std::vector<float> &lse, const std::vector<float> &lse_dense) {
  if (lse.empty()) {
    return {};
  }
  std::vector<double> rows(lse.size());
  for (std::size_t i = 0; i < lse.size(); ++i) {
    const double mass = std::exp(static_cast<double>(lse[i]) - lse_dense[i]);
    // fp32 logs can make it exceed 1 by a rounding; NaN counts as nothing recalled.
    rows[i] = std::isnan(mass) ? 0.0 : std::min(1.0, mass);
  }
  return recall_of_rows(std::move(rows));
}

Recall recall_of_rows(std::vector<double> rows) {
  Recall result;
  result.mean = std::accumulate(rows.begin(), rows.end(), 0.0) / static_cast<double>(rows.size());
  std::sort(rows.begin(), rows.end());
  result.p1 = rows[(rows.size() + 99) / 100 - 1];
  result.min = rows.front();
  return result;
}

double hit_share(double found, double wanted) {
  if (std::isnan(found) || std::isnan(wanted)) {
    return 0.0;
  }
  // Sums in another order can make a share exceed 1 by a rounding.
  return wanted > 0.0 ? std::clamp(found / wanted, 0.0, 1.0) : 1.0;
}

Policy exact_policy(Policy policy) {
  policy.estimator = Estimator::exact;
  policy.estimate_dim = 0;
  policy.channels.clear();
  policy.projection.clear();
  policy.prune_queries = false;
  policy.shift_per_head.clear();
  return policy;
}

std::vector<double> hit_mass(const Tensors &tensors, const Policy &policy, float scale, const Mask &mask,
                             const Mask &exact_mask) {
  const Mask exact = outside_reference(exact_mask, policy, tensors);
  const std::vector<double> lse_dense = log_sum_exp(tensors, scale, nullptr);
  const std::vector<double> wanted = mass_per_head(tensors, policy, scale, exact, lse_dense);
  std::vector<double> result = mass_per_head(tensors, policy, scale, exact & mask, lse_dense);
  for (std::size_t h = 0; h < result.size(); ++h) {
    result[h] = hit_share(result[h], wanted[h]);
  }
  return result;
}

} // namespace sale::reference
