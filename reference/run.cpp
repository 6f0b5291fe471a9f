// SPDX-License-Identifier: Apache-2.0
#include "reference/run.hpp"

#include "reference/attend_fp8.hpp"
#include "reference/means.hpp"
#include "reference/quantize_fp8.hpp"
#include "reference/region.hpp"
#include "reference/second_filter.hpp"
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
  sale::validate(tensors.shape, problem.causal);
  validate(tensors);
  if (tensors.num_q_heads != problem.num_q_heads || tensors.num_kv_heads != problem.num_kv_heads ||
      tensors.head_dim != problem.head_dim || tensors.v_width() != effective_v_head_dim(problem)) {
    throw Error(ErrorKind::invalid_argument, "the tensors' heads, head_dim and v_head_dim are not the problem's");
  }
}

} // namespace

Mask every_visible_block(const Policy &policy, const Tensors &tensors) {
  Mask mask(tensors.shape, tensors.num_q_heads, policy.block_q, policy.block_k);
  for (int b = 0; b < mask.batch(); ++b) {
    for (int h = 0; h < mask.num_q_heads(); ++h) {
      for (int m = 0; m < mask.q_blocks(); ++m) {
        const Region region = region_of(policy, tensors, m);
        for (int j = region.first_visible; j < region.visible_blocks; ++j) {
          mask.set(b, h, m, j);
        }
      }
    }
  }
  return mask;
}

Attention attend_as_policy_says(const Tensors &tensors, const Policy &policy, float scale,
                                const std::vector<float> &kbar, const Mask &mask, const std::vector<float> &threshold) {
  const auto attend_blocks = [&](const Mask &blocks, int block_q, int block_k) {
    return policy.fp8_attend ? attend_fp8(tensors, scale, kbar, &blocks, block_q, block_k)
                             : attend(tensors, scale, &blocks, block_q, block_k);
  };
  if (!policy.second_filter || threshold.empty()) {
    return attend_blocks(mask, policy.block_q, policy.block_k);
  }
  const Mask left = policy.fp8_attend ? second_filter(fp8_operands(tensors, kbar, scale), policy, &mask,
                                                      fp8_filter_thresholds(tensors, kbar, threshold))
                                      : second_filter(tensors, policy, &mask, threshold);
  return attend_blocks(left, filter_rows, filter_keys);
}

Result run_sale(const Problem &problem, const Policy &policy, const Tensors &tensors) {
  check(problem, tensors);
  sale::validate(policy, problem);
  const float scale = effective_softmax_scale(problem);
  const Clock::time_point start = Clock::now();
  const bool dense = tensors.shape.kv_len < policy.dense_below;
  const bool fp8 = policy.estimator == Estimator::fp8;
  Result result;
  StageTimes &times = result.times;

  std::vector<float> kbar;
  if (policy.fp8_attend || (!dense && policy.estimator != Estimator::exact)) {
    kbar = timed(times.mean, [&] { return kbar_of(tensors, policy); });
  }
  std::vector<float> threshold;
  if (dense) {
    result.mask = every_visible_block(policy, tensors);
  } else {
    std::vector<float> qbar;
    if (policy.estimator == Estimator::int4) {
      qbar = timed(times.mean, [&] { return mean_queries(tensors); });
    }
    Estimates estimates;
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
      threshold = thresholds(tensors, policy, scale).value;
      return frame_thresholds(tensors, policy, scale, kbar, threshold, estimates.queries);
    });
    result.mask = timed(times.select, [&] { return select(tensors, policy, estimates); });
  }
  Attention attention =
      timed(times.attend, [&] { return attend_as_policy_says(tensors, policy, scale, kbar, result.mask, threshold); });
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
