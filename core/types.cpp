// SPDX-License-Identifier: Apache-2.0
#include "sale/types.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <array>
#include <algorithm>
#include <cmath>
#include <limits>

namespace sale {

namespace {

constexpr std::array supported_head_dims = {64, 96, 128, 256};
// Lengths, sinks and windows stay below 2^24 keys: far above any use, and 32-bit arithmetic on positions cannot
// overflow.
constexpr int max_length = 1 << 24;

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

template <class Range>
bool contains(const Range &range, int value) {
  return std::find(range.begin(), range.end(), value) != range.end();
}

} // namespace

const char *to_string(DType dtype) { return dtype == DType::bf16 ? "bf16" : "f16"; }

const char *to_string(Estimator estimator) {
  switch (estimator) {
  case Estimator::exact: return "exact";
  case Estimator::int8: return "int8";
  case Estimator::int4: return "int4";
  }
  return "unknown";
}

float effective_softmax_scale(const Problem &problem) {
  return problem.softmax_scale != 0.0F ? problem.softmax_scale : 1.0F / std::sqrt(static_cast<float>(problem.head_dim));
}

void validate(const Problem &problem) {
  if (!contains(supported_head_dims, problem.head_dim)) {
    refuse(fmt::format("head_dim {} is not supported; supported are 64, 96, 128 and 256", problem.head_dim));
  }
  if (problem.num_kv_heads < 1 || problem.num_q_heads < 1) {
    refuse(fmt::format("num_q_heads {} and num_kv_heads {} must both be at least 1", problem.num_q_heads,
                       problem.num_kv_heads));
  }
  if (problem.num_q_heads % problem.num_kv_heads != 0) {
    refuse(fmt::format(
        "num_q_heads {} is not a multiple of num_kv_heads {}; every KV head must serve the same number of query heads",
        problem.num_q_heads, problem.num_kv_heads));
  }
  if (problem.num_q_heads > 65535) {
    refuse(fmt::format("num_q_heads {} is above 65535, the most that one launch takes", problem.num_q_heads));
  }
  if (!problem.causal) {
    refuse("non-causal attention is not supported yet; set causal to true");
  }
  if (!std::isfinite(problem.softmax_scale) || problem.softmax_scale < 0.0F) {
    refuse(fmt::format("softmax_scale {} must be a positive finite number, or 0 for 1/sqrt(head_dim)",
                       problem.softmax_scale));
  }
}

void validate(const Policy &policy, const Problem &problem) {
  if (policy.block_q != 64 && policy.block_q != 128) {
    refuse(fmt::format("block_q {} is not supported; supported are 64 and 128", policy.block_q));
  }
  if (policy.block_k != 32 && policy.block_k != 64 && policy.block_k != 128) {
    refuse(fmt::format("block_k {} is not supported; supported are 32, 64 and 128", policy.block_k));
  }
  if (policy.sink < 0 || policy.sink > max_length) {
    refuse(fmt::format("sink {} must be between 0 and {} keys", policy.sink, max_length));
  }
  if (policy.window < 0 || policy.window > max_length) {
    refuse(fmt::format("window {} must be between 0 and {} keys", policy.window, max_length));
  }
  if (!std::isfinite(policy.tau) || policy.tau < 0.0F) {
    refuse(fmt::format("tau {} must be a finite number >= 0; 0 means dense attention", policy.tau));
  }
  const auto heads = static_cast<std::size_t>(problem.num_q_heads);
  if (!policy.tau_per_head.empty() && policy.tau_per_head.size() != heads) {
    refuse(fmt::format("tau_per_head has {} entries for {} query heads; give one per query head or none",
                       policy.tau_per_head.size(), heads));
  }
  for (std::size_t h = 0; h < policy.tau_per_head.size(); ++h) {
    if (!std::isfinite(policy.tau_per_head[h]) || policy.tau_per_head[h] < 0.0F) {
      refuse(fmt::format("tau {} of head {} must be a finite number >= 0", policy.tau_per_head[h], h));
    }
  }
  if (!policy.shift_per_head.empty() && policy.shift_per_head.size() != heads) {
    refuse(fmt::format("shift_per_head has {} entries for {} query heads; give one per query head or none",
                       policy.shift_per_head.size(), heads));
  }
  for (std::size_t h = 0; h < policy.shift_per_head.size(); ++h) {
    if (!std::isfinite(policy.shift_per_head[h])) {
      refuse(fmt::format("shift {} of head {} must be a finite number of nats", policy.shift_per_head[h], h));
    }
  }
}

void validate(const Shape &shape) {
  if (shape.batch < 0 || shape.batch > 65535) {
    refuse(fmt::format("batch {} must be between 0 and 65535", shape.batch));
  }
  if (shape.q_len < 0 || shape.kv_len < 0 || shape.kv_len > max_length) {
    refuse(fmt::format("q_len {} and kv_len {} must be between 0 and {}", shape.q_len, shape.kv_len, max_length));
  }
  if (shape.q_len > shape.kv_len) {
    refuse(fmt::format("q_len {} is greater than kv_len {}; queries are the last q_len positions of the keys",
                       shape.q_len, shape.kv_len));
  }
}

} // namespace sale
