// SPDX-License-Identifier: Apache-2.0
#include "check/compare.hpp"

#include "reference/means.hpp"
#include "reference/quantize.hpp"
#include "reference/select.hpp"
#include "reference/thresholds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace sale::check {

namespace {

// Largest |q| · |k| that a product of this case can have: errors of fp32 accumulation scale with it.
double product_size(const reference::Tensors &t) {
  const auto largest_norm = [&](const std::vector<float> &values) {
    double largest = 0;
    for (std::size_t row = 0; row < values.size(); row += t.head_dim) {
      double sum = 0;
      for (int d = 0; d < t.head_dim; ++d) {
        sum += static_cast<double>(values[row + d]) * values[row + d];
      }
      largest = std::max(largest, sum);
    }
    return std::sqrt(largest);
  };
  return largest_norm(t.q) * largest_norm(t.k);
}

double largest_magnitude(const std::vector<float> &values) {
  double largest = 0;
  for (const float value : values) {
    largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  return largest;
}

// What end-to-end comparisons may differ by, in units of q · k (docs/numerics.md, section 11).
struct Bounds {
  double product;   // one q · k accumulated in fp32: head_dim/8 additions of relative error 2^-23
  double threshold; // T: two products, and l to 1e-5
  double estimate;  // how far an estimate may move when kbar differs in its last bit and flips codes

  Bounds(const reference::Tensors &t, Estimator estimator, float scale) {
    product = t.head_dim / 8.0 * std::ldexp(1.0, -23) * product_size(t);
    threshold = 2 * product + 2e-5 / scale;
    // Two codes of the largest group flip by one, each against the largest query element.
    const double code = estimator == Estimator::exact ? 0 : 2.0 / (estimator == Estimator::int8 ? 127 : 7);
    estimate = threshold + product + 2 * code * largest_magnitude(t.k) * largest_magnitude(t.q);
  }
};

// NaN is close to nothing; infinities are close to themselves.
bool close(float value, float expected, double bound) {
  return value == expected || std::abs(static_cast<double>(value) - expected) <= bound;
}

class Comparison {
public:
  explicit Comparison(Problems &problems) : problems_(problems) {}

  template <class Same>
  void values(const char *what, std::size_t count, std::size_t expected_count, const Same &same) {
    if (count != expected_count) {
      problems_.push_back(fmt::format("{} {} where there must be {}", count, what, expected_count));
      return;
    }
    std::size_t wrong = 0;
    std::size_t first = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!same(i)) {
        first = wrong == 0 ? i : first;
        ++wrong;
      }
    }
    if (wrong != 0) {
      problems_.push_back(fmt::format("{} of {} {} are wrong, the first is number {}", wrong, count, what, first));
    }
  }

  void within(const char *what, const std::vector<float> &values_, const std::vector<float> &expected, double bound) {
    values(what, values_.size(), expected.size(), [&](std::size_t i) { return close(values_[i], expected[i], bound); });
  }

  template <class T>
  void equal(const char *what, const std::vector<T> &values_, const std::vector<T> &expected) {
    values(what, values_.size(), expected.size(), [&](std::size_t i) { return values_[i] == expected[i]; });
  }

private:
  Problems &problems_;
};

void compare_means(const DeviceRun &run, const reference::Tensors &tensors, const DeviceResult &result,
                   Comparison &comparison) {
  // Sums of at most 256 values at a time in fp32, then of their sums: relative to the largest value.
  const double unit = std::ldexp(1.0, -18);
  if (run.policy.estimator != Estimator::exact && run.kbar.empty()) {
    comparison.within("values of kbar", result.kbar, reference::mean_keys(tensors),
                      unit * largest_magnitude(tensors.k));
  }
  if (run.policy.estimator == Estimator::int4) {
    comparison.within("values of qbar", result.qbar, reference::mean_queries(tensors),
                      unit * largest_magnitude(tensors.q));
  }
}

// Bit for bit, given the device's own means.
void compare_codes(const reference::Tensors &tensors, const DeviceResult &result, const reference::Estimates &estimates,
                   Comparison &comparison) {
  comparison.equal("codes of K", result.keys.codes, estimates.keys.codes);
  comparison.equal("codes of Q", result.queries.codes, estimates.queries.codes);
  comparison.equal("scales of Q", result.queries.scales, estimates.queries.scales);
  if (result.keys.scales.size() != estimates.keys.scales.size()) {
    comparison.equal("scales of K", result.keys.scales, estimates.keys.scales);
    return;
  }
  std::vector<float> scales; // of the groups that have keys
  std::vector<float> expected;
  if (!estimates.keys.codes.empty()) {
    for (int b = 0; b < tensors.shape.batch; ++b) {
      for (int g = 0; g < tensors.num_kv_heads; ++g) {
        for (int j = 0; j < tensors.shape.kv_len; ++j) {
          const std::size_t group = estimates.keys.group(tensors, b, g, j);
          scales.push_back(result.keys.scales[group]);
          expected.push_back(estimates.keys.scales[group]);
        }
      }
    }
  }
  comparison.equal("scales of K", scales, expected);
}

// Blocks where the masks differ and the oracle's estimate is not within `bound` of the threshold.
int blocks_beyond(const reference::Mask &mask, const reference::Mask &expected, const reference::Margins &margins,
                  double bound) {
  int beyond = 0;
  for (int b = 0; b < mask.batch(); ++b) {
    for (int h = 0; h < mask.num_q_heads(); ++h) {
      for (int m = 0; m < mask.q_blocks(); ++m) {
        for (int j = 0; j < mask.k_blocks(); ++j) {
          const bool differs = mask.test(b, h, m, j) != expected.test(b, h, m, j);
          beyond += differs && !(std::abs(margins.at(b, h, m, j)) <= bound) ? 1 : 0;
        }
      }
    }
  }
  return beyond;
}

// The policy with what the call overrides.
Policy policy_of(const DeviceRun &run) {
  Policy policy = run.policy;
  policy.tau_per_head = run.tau.empty() ? policy.tau_per_head : run.tau;
  policy.shift_per_head = run.shift.empty() ? policy.shift_per_head : run.shift;
  return policy;
}

} // namespace

Problems compare_method(const DeviceRun &run, const reference::Tensors &tensors, const DeviceResult &result) {
  Problems problems;
  Comparison comparison(problems);
  const Policy policy = policy_of(run);
  const float scale = effective_softmax_scale(run.problem);
  const Bounds bounds(tensors, policy.estimator, scale);

  compare_means(run, tensors, result, comparison);
  const auto thresholds = reference::thresholds(tensors, policy, scale);
  comparison.within("thresholds", result.threshold, thresholds.value, bounds.threshold);

  const auto given = reference::prepare_estimates(tensors, policy, scale, result.kbar, result.qbar, result.threshold);
  compare_codes(tensors, result, given, comparison);
  if (policy.estimator != Estimator::exact && !(result.mask == reference::select(tensors, policy, given))) {
    problems.emplace_back("the mask is not the oracle's, bit for bit, given the device's own means and thresholds");
  }

  const auto kbar = run.kbar.empty() ? reference::mean_keys(tensors) : run.kbar;
  const auto own =
      reference::prepare_estimates(tensors, policy, scale, kbar, reference::mean_queries(tensors), thresholds.value);
  const reference::Mask end_to_end = reference::select(tensors, policy, own);
  if (!(result.mask == end_to_end)) {
    const auto margins = reference::estimate_margins(tensors, policy, own);
    const int beyond = blocks_beyond(result.mask, end_to_end, margins, bounds.estimate);
    if (beyond != 0) {
      problems.push_back(fmt::format("{} blocks differ from the oracle's mask by more than the stated bound {:.3g}",
                                     beyond, bounds.estimate));
    }
  }

  const auto expected = reference::attend(tensors, scale, &result.mask, policy.block_q, policy.block_k);
  const Problems of_output = compare_output(run.problem, tensors, result, expected);
  problems.insert(problems.end(), of_output.begin(), of_output.end());
  return problems;
}

Problems compare_output(const Problem &problem, const reference::Tensors &tensors, const DeviceResult &result,
                        const reference::Attention &expected) {
  Problems problems;
  Comparison comparison(problems);
  if (!result.guards_intact) {
    problems.emplace_back("something was written outside its buffer");
  }
  const bool bf16 = problem.dtype == DType::bf16;
  const double unit = std::ldexp(1.0, bf16 ? -8 : -11);
  const double value_size = largest_magnitude(tensors.v);
  comparison.values("output elements", result.out.size(), expected.out.size(), [&](std::size_t i) {
    return close(result.out[i], expected.out[i], unit * (value_size + std::abs(expected.out[i])));
  });
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < std::min(result.out.size(), expected.out.size()); ++i) {
    error += std::pow(static_cast<double>(result.out[i]) - expected.out[i], 2);
    size += std::pow(static_cast<double>(expected.out[i]), 2);
  }
  const double most = bf16 ? 4e-3 : 1e-3;
  if (!(std::sqrt(error) <= most * std::sqrt(size))) {
    problems.push_back(fmt::format("the output's relative L2 error is {:.3g}, above {:.3g}",
                                   std::sqrt(error) / std::sqrt(size), most));
  }
  const float scale = effective_softmax_scale(problem);
  const double product = Bounds(tensors, Estimator::exact, scale).product;
  comparison.within("lse values", result.lse, expected.lse, 1e-4 + 2 * product * scale);
  return problems;
}

} // namespace sale::check
