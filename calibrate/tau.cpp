// SPDX-License-Identifier: Apache-2.0
#include "calibrate/tau.hpp"

#include "calibrate/calibrate.hpp"
#include "calibrate/channels.hpp"
#include "calibrate/error_curve.hpp"
#include "calibrate/sequences.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale {

using reference::Tensors;

namespace {

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

void check(const TauGoal &goal) {
  if (!(goal.bound.l1 > 0.0 && goal.bound.rel_l1 > 0.0)) {
    refuse(fmt::format("error bounds must be above 0, but l1 is {} and rel_l1 {}", goal.bound.l1, goal.bound.rel_l1));
  }
  if (!(std::isfinite(goal.largest_tau) && goal.largest_tau >= least_tau)) {
    refuse(fmt::format("the largest tau {} must be a finite number of at least {}", goal.largest_tau, least_tau));
  }
  if (goal.rows < 0) {
    refuse(fmt::format("rows {} must be 0 (all) or above", goal.rows));
  }
  if (goal.policy.fp8_attend || goal.policy.second_filter) {
    refuse("an error bound is measured with 16-bit attention over all that the mask keeps; leave fp8_attend and "
           "second_filter out");
  }
}

/// Four significant digits, never more than `tau`; 0 below least_tau.
float rounded_down(double tau) {
  if (!(tau >= least_tau)) {
    return 0.0F;
  }
  const double unit = std::pow(10.0, std::floor(std::log10(tau)) - 3.0);
  const auto rounded = static_cast<float>(std::floor(tau / unit) * unit);
  return std::max(rounded, least_tau);
}

/// The largest tau of each head whose error, and that of every smaller one, is within the bound on all sequences.
std::vector<float> largest_taus(const TauGoal &goal, const Policy &policy, const std::vector<Sequence> &sequences) {
  std::vector<double> ends(sequences.front().tensors.num_q_heads, std::numeric_limits<double>::infinity());
  for (const Sequence &sequence : sequences) {
    const std::vector<ErrorCurve> curves =
        error_curves(sequence, policy, goal.softmax_scale, least_tau, goal.largest_tau);
    for (std::size_t h = 0; h < ends.size(); ++h) {
      ends[h] = std::min(ends[h], curves[h].end_of(goal.bound));
    }
  }
  std::vector<float> taus(ends.size());
  std::transform(ends.begin(), ends.end(), taus.begin(), [&](double end) {
    return std::isinf(end) && end > 0.0 ? goal.largest_tau : rounded_down(std::exp(end));
  });
  return taus;
}

/// Runs the policy as it is on every sequence. Curves have no rounding of thresholds in them: a head that is above the
/// bound after all goes down until it is not.
void verify(const TauGoal &goal, Policy &policy, const std::vector<Sequence> &sequences) {
  for (double step = 0.01;; step = std::min(2 * step, 0.5)) {
    std::vector<bool> above(policy.tau_per_head.size());
    for (const Sequence &sequence : sequences) {
      const std::vector<OutputError> errors = output_errors(sequence, policy, goal.softmax_scale);
      for (std::size_t h = 0; h < errors.size(); ++h) {
        // A dense head is exact: its error is 0.
        above[h] = above[h] || (policy.tau_per_head[h] > 0.0F && !errors[h].within(goal.bound));
      }
    }
    if (std::none_of(above.begin(), above.end(), [](bool x) { return x; })) {
      return;
    }
    for (std::size_t h = 0; h < above.size(); ++h) {
      if (above[h]) {
        const double lower = policy.tau_per_head[h] * (1.0 - step);
        policy.tau_per_head[h] = lower < least_tau ? 0.0F : rounded_down(lower);
      }
    }
  }
}

} // namespace

int HeadTau::violations(const ErrorBound &bound) const {
  return static_cast<int>(std::count_if(judged.begin(), judged.end(), [&](const SequenceError &sequence) {
    return tau > 0.0F && !sequence.error.within(bound);
  }));
}

OutputError HeadTau::total() const {
  OutputError total;
  for (const SequenceError &sequence : judged) {
    total += sequence.error;
  }
  return total;
}

LayerTau calibrate_tau(const TauGoal &goal, const std::vector<Tensors> &samples, const std::vector<Tensors> &judges) {
  check(goal);
  require_same_heads(samples, samples.front());
  require_same_heads(judges, samples.front());
  const bool split = judges.empty();
  const Part part = split ? Part::even : Part::whole;
  LayerTau result;
  result.policy = goal.policy;
  result.head_dim = samples.front().head_dim;
  choose_estimate(result.policy, samples, goal.project, part);

  const std::vector<Sequence> sequences = sequences_of(samples, goal.policy, {goal.lengths, goal.rows, part});
  result.policy.tau_per_head = largest_taus(goal, result.policy, sequences);
  verify(goal, result.policy, sequences);

  const std::vector<Sequence> judging =
      sequences_of(split ? samples : judges, goal.policy, {goal.lengths, goal.rows, split ? Part::odd : Part::whole});
  result.heads.resize(result.policy.tau_per_head.size());
  for (const Sequence &sequence : judging) {
    const std::vector<OutputError> errors = output_errors(sequence, result.policy, goal.softmax_scale);
    for (std::size_t h = 0; h < errors.size(); ++h) {
      result.heads[h].tau = result.policy.tau_per_head[h];
      result.heads[h].judged.push_back({sequence.sample, sequence.tensors.shape.kv_len, errors[h]});
    }
  }
  return result;
}

} // namespace sale
