// SPDX-License-Identifier: Apache-2.0
#include "reference/run.hpp"

#include "reference/means.hpp"
#include "reference/quantize_fp8.hpp"
#include "reference/select.hpp"
#include "sale/error.hpp"

#include <chrono>
#include <utility>

namespace sale::reference {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Runs a step and adds its time to `milliseconds`.
template <class Step>
auto timed(double &milliseconds, Step step) {
  const Clock::time_point start = Clock::now();
  auto result = step();
  milliseconds += milliseconds_since(start);
  return result;
}

void check(const Problem &problem, const Tensors &tensors) {
  sale::validate(problem);
  validate(tensors);
  if (tensors.num_q_heads != problem.num_q_heads || tensors.num_kv_heads != problem.num_kv_heads ||
      tensors.head_dim != problem.head_dim) {
    throw Error(ErrorKind::invalid_argument, "the tensors' heads and head_dim are not the problem's");
  }
}

} // namespace

Result run_sale(const Problem &problem, const Policy &policy, const Tensors &tensors) {
  check(problem, tensors);
  sale::validate(policy, problem);
  const float scale = effective_softmax_scale(problem);
  const Clock::time_point start = Clock::now();
  Result result;
  StageTimes &times = result.times;

  std::vector<float> kbar;
  std::vector<float> qbar;
  if (policy.estimator != Estimator::exact) {
    kbar = timed(times.mean, [&] { return mean_keys(tensors); });
  }
  if (policy.estimator == Estimator::int4) {
    qbar = timed(times.mean, [&] { return mean_queries(tensors); });
  }
  Estimates estimates;
  const bool fp8 = policy.estimator == Estimator::fp8;
  if (policy.estimator != Estimator::exact) {
    estimates.keys = timed(times.quantize, [&] {
      estimates.channels = fp8 ? choose_channels(tensors, policy, kbar) : Channels();
      return fp8 ? quantize_keys_fp8(tensors, policy, kbar, estimates.channels)
                 : quantize_keys(tensors, policy.estimator, kbar, qbar);
    });
  }
  estimates.rows = timed(times.prepare, [&] {
    estimates.queries = fp8 ? quantize_queries_fp8(tensors, policy, estimates.channels)
                            : quantize_queries(tensors, policy.estimator, qbar);
    const Thresholds threshold = thresholds(tensors, policy, scale);
    return frame_thresholds(tensors, policy, scale, kbar, threshold.value, estimates.queries);
  });
  result.mask = timed(times.select, [&] { return select(tensors, policy, estimates); });
  Attention attention =
      timed(times.attend, [&] { return attend(tensors, scale, &result.mask, policy.block_q, policy.block_k); });
  result.out = std::move(attention.out);
  result.lse = std::move(attention.lse);
  times.total = milliseconds_since(start);
  return result;
}

Attention run_dense(const Problem &problem, const Tensors &tensors) {
  check(problem, tensors);
  return attend(tensors, effective_softmax_scale(problem), nullptr);
}

} // namespace sale::reference
