// SPDX-License-Identifier: Apache-2.0
#include "check/compare.hpp"

#include "reference/attend_fp8.hpp"
#include "reference/channels.hpp"
#include "reference/float8.hpp"
#include "reference/means.hpp"
#include "reference/quantize.hpp"
#include "reference/run.hpp"
#include "reference/second_filter.hpp"
#include "reference/select.hpp"
#include "reference/softcap.hpp"
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

// Of a capped logit, in nats: the error of the kernels' tanh (docs/numerics.md, section 15).
double softcap_error(const reference::Tensors &t) { return 3e-7 * t.softcap; }

// What end-to-end comparisons may differ by, in units of q · k (docs/numerics.md, section 11).
struct Bounds {
  double product;   // one q · k accumulated in fp32: head_dim/8 additions of relative error 2^-23
  double threshold; // T: two products, and l to 1e-5
  double estimate;  // how far an estimate may move when kbar differs in its last bit and flips codes

  Bounds(const reference::Tensors &t, Estimator estimator, float scale) {
    product = t.head_dim / 8.0 * std::ldexp(1.0, -23) * product_size(t);
    threshold = 2 * product + (2e-5 + softcap_error(t)) / scale;
    // Two codes of the largest group flip by one, each against the largest query element.
    const double code = estimator == Estimator::int8 ? 2.0 / 127 : estimator == Estimator::int4 ? 2.0 / 7 : 0;
    estimate = threshold + product + 2 * code * largest_magnitude(t.k) * largest_magnitude(t.q);
  }

  // fp8: the sum in f16 and a step of the threshold in f16 at the largest scales, and two codes that flip by a step.
  void add_fp8(const reference::Estimates &e, int estimate_dim) {
    double unit = 0; // of a sum
    double query = 0;
    for (std::size_t row = 0; row < e.queries.scales.size(); ++row) {
      unit = std::max(unit, static_cast<double>(e.queries.scales[row]));
      query = std::max(query, e.queries.scales[row] * largest_value(e.queries.codes, row, estimate_dim));
    }
    const double least_scale = *std::min_element(e.keys.scales.begin(), e.keys.scales.end());
    const double key = largest_value(e.keys.codes, 0, static_cast<int>(e.keys.codes.size())) / least_scale;
    estimate += unit / least_scale * (reference::fp8_sum_bound(estimate_dim) + 32) + 2 * query * key / 8;
  }

private:
  // Of `count` codes of a row.
  static double largest_value(const std::vector<std::int8_t> &codes, std::size_t row, int count) {
    double largest = 0;
    const auto first = codes.begin() + static_cast<std::ptrdiff_t>(row) * count;
    for (auto code = first; code != first + count; ++code) {
      largest =
          std::max(largest, std::abs(static_cast<double>(reference::e4m3_to_float(static_cast<std::uint8_t>(*code)))));
    }
    return largest;
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

  // NaN equals NaN.
  template <class T>
  void equal(const char *what, const std::vector<T> &values_, const std::vector<T> &expected) {
    values(what, values_.size(), expected.size(), [&](std::size_t i) {
      return values_[i] == expected[i] || (values_[i] != values_[i] && expected[i] != expected[i]);
    });
  }

private:
  Problems &problems_;
};

void compare_means(const DeviceRun &run, const reference::Tensors &tensors, const DeviceResult &result,
                   Comparison &comparison) {
  // Sums of at most 256 values at a time in fp32, then of their sums: relative to the largest value.
  const double unit = std::ldexp(1.0, -18);
  if (!run.policy.kbar.empty()) {
    comparison.equal("values of kbar", result.kbar, kbar_of(run, tensors));
  } else if (run.policy.estimator != Estimator::exact && run.kbar.empty()) {
    comparison.within("values of kbar", result.kbar, reference::mean_keys(tensors),
                      unit * largest_magnitude(tensors.k));
  }
  if (run.policy.estimator == Estimator::int4) {
    comparison.within("values of qbar", result.qbar, reference::mean_queries(tensors),
                      unit * largest_magnitude(tensors.q));
  }
}

// Energies that the device sums in fp32 may put channels in another order where they are this close.
constexpr double energy_error = 1e-4;

// The device's channels are those of largest energy, and its weights the keys' energies.
void compare_channels(const DeviceRun &run, const reference::Tensors &tensors, const DeviceResult &result,
                      Comparison &comparison) {
  const auto expected = reference::choose_channels(tensors, run.policy, result.kbar);
  comparison.values("weights of channels", result.channels.weights.size(), expected.weights.size(), [&](std::size_t i) {
    const float weight = expected.weights[i];
    return close(result.channels.weights[i], weight, energy_error * weight);
  });
  if (expected.index.empty() || !run.policy.channels.empty()) {
    comparison.equal("channels", result.channels.index, expected.index);
    return;
  }
  const auto energies = reference::channel_energies(tensors, result.kbar);
  const int count = reference::estimate_dim(run.policy, tensors.head_dim);
  comparison.values("channels", result.channels.index.size(), expected.index.size(), [&](std::size_t i) {
    const int channel = result.channels.index[i];
    const bool ascends = i % count == 0 || channel > result.channels.index[i - 1];
    if (!ascends || channel < 0 || channel >= tensors.head_dim) {
      return false;
    }
    const std::size_t head = i / count * tensors.head_dim;
    const auto energy = [&](int d) { return energies.queries[head + d] * energies.keys[head + d]; };
    // The least of the expected ones is the bar.
    double bar = energy(expected.index[i / count * count]);
    for (int n = 0; n < count; ++n) {
      bar = std::min(bar, energy(expected.index[i / count * count + n]));
    }
    return energy(channel) >= bar * (1 - energy_error);
  });
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

// Rows of which the second filter's decision may differ: some block's largest x - T is within rounding of 0.
std::vector<bool> undecided_rows(const reference::Tensors &tensors, const Policy &policy, float scale,
                                 const std::vector<float> &kbar, const DeviceResult &result) {
  if (!policy.second_filter) {
    return {};
  }
  const auto margins =
      policy.fp8_attend
          ? reference::second_filter_margins(reference::fp8_operands(tensors, kbar, scale), policy, &result.mask,
                                             reference::fp8_filter_thresholds(tensors, kbar, result.threshold))
          : reference::second_filter_margins(tensors, policy, &result.mask, result.threshold);
  const double bound = policy.fp8_attend ? reference::fp8_score_bound(tensors, kbar, scale)
                                         : 2 * Bounds(tensors, Estimator::exact, scale).product;
  std::vector<bool> undecided(tensors.q_rows());
  for (int b = 0; b < tensors.shape.batch; ++b) {
    for (int h = 0; h < tensors.num_q_heads; ++h) {
      for (int i = 0; i < tensors.shape.q_len; ++i) {
        for (int j = 0; j < reference::ceil_div(tensors.shape.kv_len, reference::filter_keys); ++j) {
          const std::size_t row = tensors.q_row(b, h, i);
          undecided[row] = undecided[row] || std::abs(margins.at(b, h, i / reference::filter_rows, j)) <= bound;
        }
      }
    }
  }
  return undecided;
}

// A call below dense_below: everything visible, nothing estimated.
Problems compare_short_call(const DeviceRun &run, const reference::Tensors &tensors, const DeviceResult &result) {
  const auto kbar = kbar_of(run, tensors);
  const reference::Mask visible = reference::every_visible_block(run.policy, tensors);
  const auto expected =
      reference::attend_as_policy_says(tensors, run.policy, effective_softmax_scale(run.problem), kbar, visible, {});
  Problems problems = compare_output(run.problem, tensors, result, expected, run.policy, kbar);
  if (!(result.mask == visible)) {
    problems.emplace_back("the mask of a call below dense_below does not hold every visible block and no other");
  }
  return problems;
}

// What P's codes are off by is of both signs: it averages over rows, but not over a few.
double fp8_output_bound(std::size_t rows) {
  return rows == 0 || rows >= 8 ? 4e-2 : 7e-2 * std::pow(static_cast<double>(rows), -0.25);
}

} // namespace

std::vector<float> kbar_of(const DeviceRun &run, const reference::Tensors &tensors) {
  return run.kbar.empty() ? reference::kbar_of(tensors, run.policy) : run.kbar;
}

Problems compare_method(const DeviceRun &run, const reference::Tensors &tensors, const DeviceResult &result) {
  if (tensors.shape.kv_len < run.policy.dense_below) {
    return compare_short_call(run, tensors, result);
  }
  Problems problems;
  Comparison comparison(problems);
  const Policy policy = policy_of(run);
  const float scale = effective_softmax_scale(run.problem);
  const bool fp8 = policy.estimator == Estimator::fp8;
  Bounds bounds(tensors, policy.estimator, scale);

  compare_means(run, tensors, result, comparison);
  const auto thresholds = reference::thresholds(tensors, policy, scale);
  comparison.values("thresholds", result.threshold.size(), thresholds.value.size(), [&](std::size_t i) {
    return close(static_cast<float>(reference::softcapped(tensors, scale, result.threshold[i])),
                 static_cast<float>(reference::softcapped(tensors, scale, thresholds.value[i])), bounds.threshold);
  });

  if (fp8) {
    compare_channels(run, tensors, result, comparison);
    if (!problems.empty()) {
      return problems; // the rest is in terms of the channels
    }
  }
  const auto given = reference::prepare_estimates(tensors, policy, scale, result.kbar, result.qbar, result.threshold,
                                                  fp8 ? &result.channels : nullptr);
  compare_codes(tensors, result, given, comparison);
  const reference::Mask of_given = reference::select(tensors, policy, given);
  if (fp8) {
    const double bound = reference::fp8_sum_bound(reference::estimate_dim(policy, tensors.head_dim));
    const int beyond = blocks_beyond(result.mask, of_given, reference::fp8_sum_margins(tensors, policy, given), bound);
    if (beyond != 0) {
      problems.push_back(fmt::format("given the device's own means, channels and thresholds, {} blocks differ from the "
                                     "oracle's mask by more than what sums in f16 may change",
                                     beyond));
    }
  } else if (policy.estimator != Estimator::exact && !(result.mask == of_given)) {
    problems.emplace_back("the mask is not the oracle's, bit for bit, given the device's own means and thresholds");
  }

  const auto kbar = kbar_of(run, tensors);
  const auto &kbar_of_attend = result.kbar.empty() ? kbar : result.kbar; // fp8_attend
  // Near the cap a last bit of a sum moves T, which is before it, without bound.
  const auto &threshold = tensors.softcap == 0.0F ? thresholds.value : result.threshold;
  const auto own = reference::prepare_estimates(tensors, policy, scale, kbar, reference::mean_queries(tensors),
                                                threshold, fp8 ? &result.channels : nullptr);
  if (fp8) {
    bounds.add_fp8(own, reference::estimate_dim(policy, tensors.head_dim));
  }
  const reference::Mask end_to_end = reference::select(tensors, policy, own);
  if (!(result.mask == end_to_end)) {
    const auto margins = reference::estimate_margins(tensors, policy, own);
    const int beyond = blocks_beyond(result.mask, end_to_end, margins, bounds.estimate);
    if (beyond != 0) {
      problems.push_back(fmt::format("{} blocks differ from the oracle's mask by more than the stated bound {:.3g}",
                                     beyond, bounds.estimate));
    }
  }

  const auto expected =
      reference::attend_as_policy_says(tensors, policy, scale, kbar_of_attend, result.mask, result.threshold);
  const Problems of_output = compare_output(run.problem, tensors, result, expected, policy, kbar_of_attend,
                                            undecided_rows(tensors, policy, scale, kbar_of_attend, result));
  problems.insert(problems.end(), of_output.begin(), of_output.end());
  return problems;
}

Problems compare_output(const Problem &problem, const reference::Tensors &tensors, const DeviceResult &result,
                        const reference::Attention &expected, const Policy &policy, const std::vector<float> &kbar,
                        const std::vector<bool> &undecided) {
  Problems problems;
  Comparison comparison(problems);
  if (!result.guards_intact) {
    problems.emplace_back("something was written outside its buffer");
  }
  const auto decided = [&](std::size_t row) { return undecided.empty() || !undecided[row]; };
  const auto dim = static_cast<std::size_t>(tensors.v_width());
  const bool bf16 = problem.dtype == DType::bf16;
  const double unit = std::ldexp(1.0, policy.fp8_attend ? -4 : bf16 ? -8 : -11);
  const double value_size = largest_magnitude(tensors.v);
  comparison.values("output elements", result.out.size(), expected.out.size(), [&](std::size_t i) {
    return !decided(i / dim) || close(result.out[i], expected.out[i], unit * (value_size + std::abs(expected.out[i])));
  });
  double error = 0;
  double size = 0;
  std::size_t compared = 0;
  for (std::size_t i = 0; i < std::min(result.out.size(), expected.out.size()); ++i) {
    if (decided(i / dim)) {
      error += std::pow(static_cast<double>(result.out[i]) - expected.out[i], 2);
      size += std::pow(static_cast<double>(expected.out[i]), 2);
      ++compared;
    }
  }
  const double most = policy.fp8_attend ? fp8_output_bound(compared / dim) : bf16 ? 4e-3 : 1e-3;
  if (!(std::sqrt(error) <= most * std::sqrt(size))) {
    problems.push_back(fmt::format("the output's relative L2 error is {:.3g}, above {:.3g}",
                                   std::sqrt(error) / std::sqrt(size), most));
  }
  const float scale = effective_softmax_scale(problem);
  const double lse_bound =
      policy.fp8_attend ? reference::fp8_lse_bound + reference::fp8_score_bound(tensors, kbar, scale) * scale
                        : 1e-4 + softcap_error(tensors) + 2 * Bounds(tensors, Estimator::exact, scale).product * scale;
  comparison.values("lse values", result.lse.size(), expected.lse.size(), [&](std::size_t row) {
    return !decided(row) || close(result.lse[row], expected.lse[row], lse_bound);
  });
  return problems;
}

} // namespace sale::check
