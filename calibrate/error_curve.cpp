// SPDX-License-Identifier: Apache-2.0
#include "calibrate/error_curve.hpp"

#include "calibrate/partial_attention.hpp"
#include "core/parallel_for.hpp"
#include "reference/means.hpp"
#include "reference/region.hpp"
#include "reference/select.hpp"
#include "reference/thresholds.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

namespace sale {

using reference::Margins;
using reference::Region;
using reference::Tensors;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Margins at tau 1, where they are ln RAS once scaled: T = m + ln(tau l) / s.
Margins margins_at_one(const Sequence &sequence, Policy policy, float scale) {
  policy.tau = 1;
  policy.tau_per_head.clear();
  policy.shift_per_head.clear();
  const Tensors &tensors = sequence.tensors;
  const bool smooths_queries = policy.estimator == Estimator::int4;
  reference::Estimates estimates =
      reference::prepare_estimates(tensors, policy, scale, reference::kbar_of(tensors, policy),
                                   smooths_queries ? reference::mean_queries(tensors) : std::vector<float>(),
                                   reference::thresholds(tensors, policy, scale).value);
  // fp8 rounds thresholds down to f16, another step at every tau: without it, what is kept is kept for sure.
  estimates.rows.theta16 = estimates.rows.theta;
  return reference::estimate_margins(tensors, policy, estimates, sequence.chosen);
}

/// The output of one query block while key blocks are added to what is kept.
class GrowingOutput {
public:
  explicit GrowingOutput(const PartialAttention &attention)
      : attention_(attention), mass_(attention.rows()),
        sum_(static_cast<std::size_t>(attention.rows()) * attention.width()), dense_(sum_.size()) {
    std::vector<double> row_sum;
    for (int r = 0; r < attention.rows(); ++r) {
      const double total = attention.gather(r, [](int) { return true; }, row_sum);
      std::transform(row_sum.begin(), row_sum.end(),
                     dense_.begin() + static_cast<std::ptrdiff_t>(r) * attention.width(),
                     [total](double x) { return x / total; });
    }
  }

  void add(int block) {
    for (int r = 0; r < attention_.rows(); ++r) {
      mass_[r] += attention_.mass(block, r);
      const double *out = attention_.out(block, r);
      double *sum = sum_.data() + static_cast<std::ptrdiff_t>(r) * attention_.width();
      for (int d = 0; d < attention_.width(); ++d) {
        sum[d] += out[d];
      }
    }
  }

  double error() const {
    double error = 0.0;
    for (int r = 0; r < attention_.rows(); ++r) {
      const double share = 1.0 / mass_[r];
      const std::size_t first = static_cast<std::size_t>(r) * attention_.width();
      for (std::size_t i = first; i < first + attention_.width(); ++i) {
        error += std::fabs(sum_[i] * share - dense_[i]);
      }
    }
    return error;
  }

  double size() const {
    double size = 0.0;
    for (const double x : dense_) {
      size += std::fabs(x);
    }
    return size;
  }

private:
  const PartialAttention &attention_;
  std::vector<double> mass_;  // [row]
  std::vector<double> sum_;   // [row, width]
  std::vector<double> dense_; // [row, width]
};

struct Range {
  double least;
  double largest;
};

ErrorCurve curve_of(const Sequence &sequence, const Policy &policy, float scale, const Margins &margins, Range range,
                    int h, int query_block) {
  const PartialAttention attention(sequence.tensors, policy, scale, 0, h, query_block);
  const Region region = reference::region_of(policy, sequence.tensors, query_block);
  GrowingOutput output(attention);
  std::vector<std::pair<double, int>> in_range; // ln tau from which on a block is dropped, the block
  for (int j = region.first_visible; j < region.visible_blocks; ++j) {
    const double dropped_at =
        region.in_reference(j) ? infinity : scale * margins.at(0, h, query_block, j) + reference::shift_of(policy, h);
    if (dropped_at > range.largest) {
      output.add(j);
    } else if (dropped_at > range.least) {
      in_range.emplace_back(dropped_at, j);
    }
  }
  std::sort(in_range.rbegin(), in_range.rend());
  ErrorCurve curve;
  curve.rows = attention.rows();
  curve.size = output.size();
  curve.least_error = output.error();
  for (const auto &[dropped_at, block] : in_range) {
    const double without = curve.least_error;
    output.add(block);
    curve.least_error = output.error();
    curve.steps.push_back({dropped_at, without - curve.least_error});
  }
  return curve;
}

} // namespace

double ErrorCurve::end_of(const ErrorBound &bound) const {
  const double limit = bound.limit(rows, size);
  double error = least_error;
  if (error > limit) {
    return -infinity;
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    error += steps[i].change;
    const bool last_here = i + 1 == steps.size() || steps[i + 1].log_tau > steps[i].log_tau;
    if (last_here && error > limit) {
      return steps[i].log_tau;
    }
  }
  return infinity;
}

std::vector<ErrorCurve> error_curves(const Sequence &sequence, const Policy &policy, float scale, float least_tau,
                                     float largest_tau) {
  const Margins margins = margins_at_one(sequence, policy, scale);
  const Range range = {std::log(static_cast<double>(least_tau)), std::log(static_cast<double>(largest_tau))};
  const int heads = sequence.tensors.num_q_heads;
  const auto q_blocks = static_cast<int>(sequence.chosen.size());
  std::vector<ErrorCurve> parts(static_cast<std::size_t>(heads) * q_blocks);
  parallel_for(static_cast<std::int64_t>(parts.size()), [&](std::int64_t item) {
    const int h = static_cast<int>(item % heads);
    const int m = q_blocks - 1 - static_cast<int>(item / heads); // the heaviest first
    if (sequence.chosen[m]) {
      parts[item] = curve_of(sequence, policy, scale, margins, range, h, m);
    }
  });
  std::vector<ErrorCurve> curves(heads);
  for (std::size_t item = 0; item < parts.size(); ++item) {
    ErrorCurve &curve = curves[item % heads];
    curve.rows += parts[item].rows;
    curve.size += parts[item].size;
    curve.least_error += parts[item].least_error;
    curve.steps.insert(curve.steps.end(), parts[item].steps.begin(), parts[item].steps.end());
  }
  for (ErrorCurve &curve : curves) {
    std::sort(curve.steps.begin(), curve.steps.end(), [](const ErrorCurve::Step &a, const ErrorCurve::Step &b) {
      return std::tie(a.log_tau, a.change) < std::tie(b.log_tau, b.change);
    });
  }
  return curves;
}

} // namespace sale
