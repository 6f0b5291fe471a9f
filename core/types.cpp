// SPDX-License-Identifier: Apache-2.0
#include "sale/types.hpp"

#include "core/supported.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

namespace sale {

namespace {

// Far above any use, and 32-bit arithmetic on positions cannot overflow.
constexpr int max_length = 1 << 20;
constexpr int max_region = 1 << 24; // sink and windows: further than any sequence goes

// Above it the error of the fast tanh would show in the output (docs/numerics.md).
constexpr float max_softcap = 1000.0F;

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

// "supported are 32, 64 and 128".
template <class Range>
void require_supported(std::string_view what, int value, const Range &supported) {
  if (std::find(supported.begin(), supported.end(), value) == supported.end()) {
    refuse(fmt::format("{} {} is not supported; supported are {} and {}", what, value,
                       fmt::join(supported.begin(), supported.end() - 1, ", "), supported.back()));
  }
}

void validate_head_dims(const Problem &problem) {
  require_supported("head_dim", problem.head_dim, supported_head_dims);
  const std::pair dims(problem.head_dim, effective_v_head_dim(problem));
  const auto &unequal = supported_unequal_head_dims;
  if (dims.first != dims.second && std::find(unequal.begin(), unequal.end(), dims) == unequal.end()) {
    refuse(
        fmt::format("v_head_dim {} with head_dim {} is not supported; v_head_dim is head_dim (or 0, which means so), "
                    "or 128 with head_dim 192",
                    problem.v_head_dim, problem.head_dim));
  }
}

void validate_variants(const Problem &problem) {
  if (problem.sliding_window < 0 || problem.sliding_window > max_region) {
    refuse(fmt::format("sliding_window {} must be between 1 and {} keys, or 0 for all of them", problem.sliding_window,
                       max_region));
  }
  if (problem.sliding_window != 0 && !problem.causal) {
    refuse(fmt::format("sliding_window {} needs causal attention; set causal to true or sliding_window to 0",
                       problem.sliding_window));
  }
  if (!(problem.softcap >= 0.0F && problem.softcap <= max_softcap)) {
    refuse(fmt::format("softcap {} must be above 0 and at most {}, or 0 for none", problem.softcap, max_softcap));
  }
}

void refuse_what_no_kernel_has(const Problem &problem) {
  if (problem.alibi) {
    refuse("alibi is not supported; no kernel adds a bias to scores, so set it to false");
  }
  if (problem.dropout != 0.0F) {
    refuse(fmt::format("dropout {} is not supported; libsale is for inference, so set it to 0", problem.dropout));
  }
  if (problem.backward) {
    refuse("backward is not supported; libsale is for inference, so set it to false");
  }
  if (problem.kv_type != KvType::same) {
    refuse("kv_type is not supported; K and V have the dtype of Q, so leave it at same");
  }
}

// The scores of attend in e4m3 lack what the mean of the keys adds, which both need.
void validate_fp8_attend(const Policy &policy, const Problem &problem) {
  if (policy.fp8_attend && problem.softcap != 0.0F) {
    refuse("fp8_attend and softcap exclude each other; set fp8_attend to false");
  }
  if (policy.fp8_attend && problem.sink_logits) {
    refuse("fp8_attend and sink_logits exclude each other; set fp8_attend to false");
  }
  if (policy.fp8_attend && effective_v_head_dim(problem) != problem.head_dim) {
    refuse(fmt::format("fp8_attend needs a v_head_dim equal to head_dim {}, not {}; set fp8_attend to false",
                       problem.head_dim, problem.v_head_dim));
  }
}

void validate_channels(const Policy &policy, const Problem &problem) {
  const auto count = static_cast<std::size_t>(policy.estimate_dim);
  const std::size_t expected = count * static_cast<std::size_t>(problem.num_kv_heads);
  if (policy.channels.size() != expected) {
    refuse(fmt::format("channels has {} entries; give num_kv_heads {} x estimate_dim {} or none",
                       policy.channels.size(), problem.num_kv_heads, policy.estimate_dim));
  }
  for (std::size_t i = 0; i < expected; ++i) {
    const int channel = policy.channels[i];
    if (channel < 0 || channel >= problem.head_dim) {
      refuse(
          fmt::format("channel {} of KV head {} must be between 0 and {}", channel, i / count, problem.head_dim - 1));
    }
    if (i % count != 0 && channel <= policy.channels[i - 1]) {
      refuse(fmt::format("channel {} of KV head {} comes after channel {}; the channels of a head must ascend", channel,
                         i / count, policy.channels[i - 1]));
    }
  }
}

void validate_projection(const Policy &policy, const Problem &problem, int width) {
  if (!policy.channels.empty()) {
    refuse("channels and projection exclude each other; give one of them");
  }
  if (policy.prune_queries) {
    refuse("prune_queries and projection exclude each other; choose one of them");
  }
  const std::size_t expected = static_cast<std::size_t>(problem.num_kv_heads) * 2 * static_cast<std::size_t>(width) *
                               static_cast<std::size_t>(problem.head_dim);
  if (policy.projection.size() != expected) {
    refuse(fmt::format("projection has {} entries; give num_kv_heads {} x 2 x estimate_dim {} x head_dim {} or none",
                       policy.projection.size(), problem.num_kv_heads, width, problem.head_dim));
  }
  if (!std::all_of(policy.projection.begin(), policy.projection.end(), [](float x) { return std::isfinite(x); })) {
    refuse("projection has an infinity or a NaN; every entry must be a finite number");
  }
}

void validate_kbar(const Policy &policy, const Problem &problem) {
  if (policy.kbar.empty()) {
    return;
  }
  if (policy.estimator == Estimator::exact && !policy.fp8_attend) {
    refuse("kbar is given, but estimator exact makes no codes of K; leave it out or choose another estimator");
  }
  if (policy.kbar.size() !=
      static_cast<std::size_t>(problem.num_kv_heads) * static_cast<std::size_t>(problem.head_dim)) {
    refuse(fmt::format("kbar has {} entries; give num_kv_heads {} x head_dim {} or none", policy.kbar.size(),
                       problem.num_kv_heads, problem.head_dim));
  }
  if (!std::all_of(policy.kbar.begin(), policy.kbar.end(), [](float x) { return std::isfinite(x); })) {
    refuse("kbar has an infinity or a NaN; every entry must be a finite number");
  }
}

/// What makes estimates cheaper.
void validate_estimate(const Policy &policy, const Problem &problem) {
  if (policy.estimator != Estimator::fp8) {
    if (policy.estimate_dim != 0 || !policy.channels.empty() || !policy.projection.empty() || policy.prune_queries) {
      refuse(fmt::format("estimate_dim, channels, projection and prune_queries belong to estimator fp8, not {}; leave "
                         "them out or choose fp8",
                         to_string(policy.estimator)));
    }
    return;
  }
  if (policy.estimate_dim < 0 || policy.estimate_dim % 32 != 0 || policy.estimate_dim >= problem.head_dim) {
    refuse(fmt::format("estimate_dim {} is not supported; give a multiple of 32 below head_dim {}, or 0 for all of it",
                       policy.estimate_dim, problem.head_dim));
  }
  const int width = policy.estimate_dim == 0 ? problem.head_dim : policy.estimate_dim;
  if (!policy.projection.empty()) {
    validate_projection(policy, problem, width);
  } else if (!policy.channels.empty()) {
    validate_channels(policy, problem);
  }
  if (policy.prune_queries && width % 64 != 0) {
    refuse(fmt::format("prune_queries needs an estimate of a multiple of 64 channels, not {}; set estimate_dim to one",
                       width));
  }
}

} // namespace

const char *to_string(DType dtype) { return dtype == DType::bf16 ? "bf16" : "f16"; }

const char *to_string(Estimator estimator) {
  switch (estimator) {
  case Estimator::exact: return "exact";
  case Estimator::int8: return "int8";
  case Estimator::int4: return "int4";
  case Estimator::fp8: return "fp8";
  }
  return "unknown";
}

float effective_softmax_scale(const Problem &problem) {
  return problem.softmax_scale != 0.0F ? problem.softmax_scale : 1.0F / std::sqrt(static_cast<float>(problem.head_dim));
}

int effective_v_head_dim(const Problem &problem) {
  return problem.v_head_dim != 0 ? problem.v_head_dim : problem.head_dim;
}

void validate(const Problem &problem) {
  validate_head_dims(problem);
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
  if (!std::isfinite(problem.softmax_scale) || problem.softmax_scale < 0.0F) {
    refuse(fmt::format("softmax_scale {} must be a positive finite number, or 0 for 1/sqrt(head_dim)",
                       problem.softmax_scale));
  }
  validate_variants(problem);
  refuse_what_no_kernel_has(problem);
}

void validate(const Policy &policy, const Problem &problem) {
  require_supported("block_q", policy.block_q, supported_block_q);
  require_supported("block_k", policy.block_k, supported_block_k);
  if (policy.sink < 0 || policy.sink > max_region) {
    refuse(fmt::format("sink {} must be between 0 and {} keys", policy.sink, max_region));
  }
  if (policy.window < 0 || policy.window > max_region) {
    refuse(fmt::format("window {} must be between 0 and {} keys", policy.window, max_region));
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
  validate_estimate(policy, problem);
  validate_kbar(policy, problem);
  validate_fp8_attend(policy, problem);
  if (policy.dense_below < 0) {
    refuse(fmt::format("dense_below {} must be a number of keys, 0 or more", policy.dense_below));
  }
}

void validate(const Shape &shape, bool causal) {
  if (shape.batch < 0 || shape.batch > 65535) {
    refuse(fmt::format("batch {} must be between 0 and 65535", shape.batch));
  }
  if (shape.q_len < 0 || shape.kv_len < 0 || std::max(shape.q_len, shape.kv_len) > max_length) {
    refuse(fmt::format("q_len {} and kv_len {} must be between 0 and {}", shape.q_len, shape.kv_len, max_length));
  }
  if (causal && shape.q_len > shape.kv_len) {
    refuse(fmt::format("q_len {} is greater than kv_len {}; queries are the last q_len positions of the keys",
                       shape.q_len, shape.kv_len));
  }
}

} // namespace sale
