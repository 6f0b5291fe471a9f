// SPDX-License-Identifier: Apache-2.0
// How far a mask's output is from dense attention, per query head.
#pragma once

#include "calibrate/sequences.hpp"
#include "reference/mask.hpp"

#include <cstddef>
#include <limits>
#include <vector>

namespace sale {

/// What one head of one sequence may lose.
struct ErrorBound {
  double l1 = std::numeric_limits<double>::infinity();     ///< Mean over rows of sum over channels |out - dense|.
  double rel_l1 = std::numeric_limits<double>::infinity(); ///< sum |out - dense| / sum |dense|.

  /// The sum |out - dense| that is allowed over `rows` rows with sum |dense| = size.
  double limit(std::size_t rows, double size) const;
};

/// One query head of one sequence, over its chosen query blocks.
struct OutputError {
  std::size_t rows = 0;
  double difference = 0; ///< sum |out - dense|
  double size = 0;       ///< sum |dense|
  double recall_sum = 0; ///< Dense attention mass inside the mask, summed over rows.
  double least_recall = 1;
  std::size_t kept = 0; ///< Blocks, R included.
  std::size_t visible = 0;

  double l1() const { return rows > 0 ? difference / static_cast<double>(rows) : 0.0; }
  double rel_l1() const { return size > 0.0 ? difference / size : 0.0; }
  double recall() const { return rows > 0 ? recall_sum / static_cast<double>(rows) : 1.0; }
  double density() const { return visible > 0 ? static_cast<double>(kept) / static_cast<double>(visible) : 0.0; }
  bool within(const ErrorBound &bound) const { return difference <= bound.limit(rows, size); }
  OutputError &operator+=(const OutputError &other);
};

/// [num_q_heads], of the mask that the policy gives on the sequence. Causal; dense_below is not applied.
std::vector<OutputError> output_errors(const Sequence &sequence, const Policy &policy, float scale);

} // namespace sale
