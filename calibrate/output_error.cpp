// SPDX-License-Identifier: Apache-2.0
#include "calibrate/output_error.hpp"

#include "calibrate/partial_attention.hpp"
#include "core/parallel_for.hpp"
#include "reference/means.hpp"
#include "reference/select.hpp"
#include "reference/thresholds.hpp"

#include <algorithm>
#include <cmath>

namespace sale {

using reference::Mask;
using reference::Tensors;

namespace {

Mask mask_of(const Sequence &sequence, const Policy &policy, float scale) {
  const Tensors &tensors = sequence.tensors;
  const bool smooths_queries = policy.estimator == Estimator::int4;
  return reference::select(
      tensors, policy,
      reference::prepare_estimates(tensors, policy, scale, reference::kbar_of(tensors, policy),
                                   smooths_queries ? reference::mean_queries(tensors) : std::vector<float>(),
                                   reference::thresholds(tensors, policy, scale).value),
      sequence.chosen);
}

OutputError error_of(const PartialAttention &attention, const Mask &mask, int h, int query_block) {
  OutputError error;
  error.rows = attention.rows();
  error.visible = attention.blocks();
  for (int j = 0; j < attention.blocks(); ++j) {
    error.kept += mask.test(0, h, query_block, j) ? 1 : 0;
  }
  std::vector<double> dense;
  std::vector<double> out;
  for (int r = 0; r < attention.rows(); ++r) {
    const double total = attention.gather(r, [](int) { return true; }, dense);
    const double kept = attention.gather(r, [&](int j) { return mask.test(0, h, query_block, j); }, out);
    error.recall_sum += kept / total;
    error.least_recall = std::min(error.least_recall, kept / total);
    for (std::size_t d = 0; d < dense.size(); ++d) {
      error.size += std::fabs(dense[d] / total);
      error.difference += std::fabs(out[d] / kept - dense[d] / total);
    }
  }
  return error;
}

} // namespace

double ErrorBound::limit(std::size_t rows, double size) const {
  // A bound that is not there must not meet a size of 0.
  return std::min(l1 * static_cast<double>(std::max<std::size_t>(rows, 1)),
                  std::isfinite(rel_l1) ? rel_l1 * size : rel_l1);
}

OutputError &OutputError::operator+=(const OutputError &other) {
  rows += other.rows;
  difference += other.difference;
  size += other.size;
  recall_sum += other.recall_sum;
  least_recall = std::min(least_recall, other.least_recall);
  kept += other.kept;
  visible += other.visible;
  return *this;
}

std::vector<OutputError> output_errors(const Sequence &sequence, const Policy &policy, float scale) {
  const Tensors &tensors = sequence.tensors;
  const Mask mask = mask_of(sequence, policy, scale);
  const int heads = tensors.num_q_heads;
  const auto q_blocks = static_cast<int>(sequence.chosen.size());
  std::vector<OutputError> parts(static_cast<std::size_t>(heads) * q_blocks);
  parallel_for(static_cast<std::int64_t>(parts.size()), [&](std::int64_t item) {
    const int h = static_cast<int>(item % heads);
    const int m = q_blocks - 1 - static_cast<int>(item / heads); // the heaviest first
    if (sequence.chosen[m]) {
      parts[item] = error_of(PartialAttention(tensors, policy, scale, 0, h, m), mask, h, m);
    }
  });
  // Added up in one order, so that two runs give the same numbers.
  std::vector<OutputError> result(heads);
  for (std::size_t item = 0; item < parts.size(); ++item) {
    result[item % heads] += parts[item];
  }
  return result;
}

} // namespace sale
