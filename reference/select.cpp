// SPDX-License-Identifier: Apache-2.0
#include "reference/select.hpp"

#include "reference/linear.hpp"
#include "core/parallel_for.hpp"
#include "reference/float8.hpp"
#include "reference/quantize_fp8.hpp"
#include "reference/region.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace sale::reference {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What the pairs of one (query block, key block) say.
class Verdict {
public:
  explicit Verdict(bool stop_when_kept) : stop_when_kept_(stop_when_kept) {}

  /// One pair: whether it keeps the block, and its estimate minus its row's threshold.
  void add(bool keeps, double margin) {
    if (keeps) {
      kept_ = true;
      margin = std::isnan(margin) ? infinity : margin;
    }
    margin_ = std::max(margin_, margin);
  }
  bool kept() const { return kept_; }
  bool decided() const { return kept_ && stop_when_kept_; }
  double margin() const { return margin_; }

private:
  bool stop_when_kept_;
  bool kept_ = false;
  double margin_ = -infinity;
};

/// int16 copies of codes: products of two fit int32 and the compiler vectorises their sum.
std::int32_t dot(const std::int16_t *a, const std::int16_t *b, int head_dim) {
  std::int32_t sum = 0;
  for (int d = 0; d < head_dim; ++d) {
    sum += static_cast<std::int32_t>(a[d]) * b[d];
  }
  return sum;
}

enum class MarginUnit {
  product, ///< q . k
  fp8_sum  ///< D
};

double value_of_code(std::int8_t code) { return e4m3_values()[static_cast<std::uint8_t>(code)]; }

/// Estimates of one query block against estimated key blocks, which are whole and visible to every row.
class QueryBlock {
public:
  QueryBlock(const Tensors &tensors, const Policy &policy, const Estimates &estimates, int b, int h, int query_block,
             MarginUnit unit = MarginUnit::product)
      : tensors_(tensors), policy_(policy), estimates_(estimates), unit_(unit),
        dim_(estimate_dim(policy, tensors.head_dim)), b_(b), h_(h), g_(tensors.kv_head(h)),
        first_row_(tensors.q_row(b, h, query_block * policy.block_q)),
        rows_(std::min(policy.block_q, tensors.shape.q_len - query_block * policy.block_q)) {
    const std::size_t first = first_row_ * dim_;
    const std::size_t last = first + static_cast<std::size_t>(rows_) * dim_;
    const std::vector<std::int8_t> &codes = estimates.queries.codes;
    if (policy.estimator == Estimator::exact) {
      queries_.assign(tensors.q.begin() + first, tensors.q.begin() + last);
    } else if (policy.estimator == Estimator::fp8) {
      queries_.resize(last - first);
      std::transform(codes.begin() + first, codes.begin() + last, queries_.begin(), value_of_code);
    } else {
      query_codes_.assign(codes.begin() + first, codes.begin() + last);
    }
  }

  Verdict judge(int key_block, bool stop_when_kept) {
    Verdict verdict(stop_when_kept);
    if (policy_.estimator == Estimator::exact) {
      judge_exact(key_block, verdict);
    } else if (policy_.estimator == Estimator::fp8) {
      judge_fp8(key_block, verdict);
    } else {
      judge_integer(key_block, verdict);
    }
    return verdict;
  }

private:
  void judge_exact(int key_block, Verdict &verdict) {
    tile_.load(tensors_.key(b_, g_, key_block * policy_.block_k), policy_.block_k, tensors_.head_dim);
    scores_.resize(policy_.block_k);
    for (int r = 0; r < rows_ && !verdict.decided(); ++r) {
      const float theta = estimates_.rows.theta[first_row_ + r];
      tile_.scores(queries_.data() + static_cast<std::ptrdiff_t>(r) * tensors_.head_dim, scores_.data());
      for (const double score : scores_) {
        // So written, here and below, NaN keeps.
        verdict.add(!(static_cast<float>(score) <= theta), score - theta);
      }
    }
  }

  void judge_fp8(int key_block, Verdict &verdict) {
    const QuantizedKeys &keys = estimates_.keys;
    const int first_key = key_block * policy_.block_k;
    const std::int8_t *codes = keys.codes.data() + tensors_.kv_row(b_, g_, first_key) * dim_;
    key_values_.resize(static_cast<std::size_t>(policy_.block_k) * dim_);
    std::transform(codes, codes + key_values_.size(), key_values_.begin(),
                   [](std::int8_t code) { return static_cast<float>(value_of_code(code)); });
    tile_.load(key_values_.data(), policy_.block_k, dim_);
    scores_.resize(policy_.block_k); // D: a product has 8 bits and a sum fewer than 40, so fp64 is exact
    for (int r = 0; r < rows_ && !verdict.decided(); ++r) {
      const double theta = estimates_.rows.theta16[first_row_ + r];
      const double sq = estimates_.queries.scales[first_row_ + r];
      tile_.scores(queries_.data() + static_cast<std::ptrdiff_t>(r) * dim_, scores_.data());
      for (int j = 0; j < policy_.block_k; ++j) {
        const double key_scale = keys.scales[keys.group(tensors_, b_, g_, first_key + j)];
        const double difference = scores_[j] - theta * key_scale;
        verdict.add(!(difference < 0), unit_ == MarginUnit::product ? difference * sq / key_scale : difference);
      }
    }
  }

  void judge_integer(int key_block, Verdict &verdict) {
    const QuantizedKeys &keys = estimates_.keys;
    const int dim = tensors_.head_dim;
    const int first_key = key_block * policy_.block_k;
    const std::int8_t *codes = keys.codes.data() + tensors_.kv_row(b_, g_, first_key) * dim;
    key_codes_.assign(codes, codes + static_cast<std::ptrdiff_t>(policy_.block_k) * dim);
    for (int r = 0; r < rows_ && !verdict.decided(); ++r) {
      const std::size_t row = first_row_ + r;
      const float sq = estimates_.queries.scales[row];
      for (int j = 0; j < policy_.block_k; ++j) {
        const float sk = keys.scales[keys.group(tensors_, b_, g_, first_key + j)];
        std::int32_t sum = dot(query_codes_.data() + static_cast<std::ptrdiff_t>(r) * dim,
                               key_codes_.data() + static_cast<std::ptrdiff_t>(j) * dim, dim);
        if (policy_.estimator == Estimator::int4) {
          const float bias = int4_bias(first_key + j, sq);
          if (sk == 0.0F || std::isnan(bias)) {
            continue; // 0/0 never selects
          }
          sum += static_cast<std::int32_t>(bias);
        }
        const float estimate = static_cast<float>(sum) * sk;
        verdict.add(!(estimate <= estimates_.rows.theta[row]),
                    static_cast<double>(estimate) * sq - estimates_.rows.offset[row]);
      }
    }
  }

  /// qbar . K'_j in units of both scales, a whole number or NaN.
  float int4_bias(int key, float sq) const {
    const std::size_t head = static_cast<std::size_t>(b_) * tensors_.num_q_heads + h_;
    const float scaled = estimates_.keys.bias[head * tensors_.shape.kv_len + key] * (1.0F / sq);
    constexpr float limit = 0x1p30F;
    return std::nearbyint(std::clamp(scaled, -limit, limit));
  }

  const Tensors &tensors_;
  const Policy &policy_;
  const Estimates &estimates_;
  MarginUnit unit_;
  int dim_; ///< Entries of a row that estimates see.
  int b_;
  int h_;
  int g_;
  std::size_t first_row_;
  int rows_;
  std::vector<double> queries_;           // exact, fp8
  std::vector<std::int16_t> query_codes_; // int8, int4
  std::vector<std::int16_t> key_codes_;
  std::vector<float> key_values_; // fp8
  std::vector<double> scores_;
  KeyTile tile_;
};

/// Calls visit(b, h, query_block) for every chosen query block, in parallel, last (heaviest) blocks first.
template <class Visit>
void for_each_query_block(const Tensors &tensors, const Policy &policy, const std::vector<bool> &chosen, Visit visit) {
  const int heads = tensors.shape.batch * tensors.num_q_heads;
  const int q_blocks = ceil_div(tensors.shape.q_len, policy.block_q);
  parallel_for(static_cast<std::int64_t>(heads) * q_blocks, [&](std::int64_t item) {
    const int head = static_cast<int>(item % heads);
    const int query_block = q_blocks - 1 - static_cast<int>(item / heads);
    if (chosen.empty() || chosen[query_block]) {
      visit(head / tensors.num_q_heads, head % tensors.num_q_heads, query_block);
    }
  });
}

} // namespace

Estimates prepare_estimates(const Tensors &tensors, const Policy &policy, float scale, const std::vector<float> &kbar,
                            const std::vector<float> &qbar, const std::vector<float> &threshold,
                            const Channels *channels) {
  Estimates estimates;
  if (policy.estimator == Estimator::fp8) {
    estimates.channels = channels != nullptr ? *channels : choose_channels(tensors, policy, kbar);
    estimates.keys = quantize_keys_fp8(tensors, policy, kbar, estimates.channels);
    estimates.queries = quantize_queries_fp8(tensors, policy, estimates.channels);
  } else {
    estimates.keys = quantize_keys(tensors, policy.estimator, kbar, qbar);
    estimates.queries = quantize_queries(tensors, policy.estimator, qbar);
  }
  estimates.rows = frame_thresholds(tensors, policy, scale, kbar, threshold, estimates.queries);
  return estimates;
}

Mask select(const Tensors &tensors, const Policy &policy, const Estimates &estimates, const std::vector<bool> &chosen) {
  Mask mask(tensors.shape, tensors.num_q_heads, policy.block_q, policy.block_k);
  for_each_query_block(tensors, policy, chosen, [&](int b, int h, int query_block) {
    const Region region = region_of(policy, tensors, query_block);
    const bool dense = tau_of(policy, h) == 0.0F;
    QueryBlock rows(tensors, policy, estimates, b, h, query_block);
    for (int block = region.first_visible; block < region.visible_blocks; ++block) {
      if (dense || region.in_reference(block) || rows.judge(block, true).kept()) {
        mask.set(b, h, query_block, block);
      }
    }
  });
  return mask;
}

Mask select(const Tensors &tensors, const Policy &policy, float scale, const std::vector<float> &kbar,
            const std::vector<float> &qbar, const std::vector<float> &threshold) {
  return select(tensors, policy, prepare_estimates(tensors, policy, scale, kbar, qbar, threshold));
}

namespace {

Margins margins_in(MarginUnit unit, const Tensors &tensors, const Policy &policy, const Estimates &estimates,
                   const std::vector<bool> &chosen = {}) {
  const int q_blocks = ceil_div(tensors.shape.q_len, policy.block_q);
  const int k_blocks = ceil_div(tensors.shape.kv_len, policy.block_k);
  std::vector<double> values(static_cast<std::size_t>(tensors.shape.batch) * tensors.num_q_heads * q_blocks * k_blocks,
                             -infinity);
  for_each_query_block(tensors, policy, chosen, [&](int b, int h, int query_block) {
    const Region region = region_of(policy, tensors, query_block);
    const bool dense = tau_of(policy, h) == 0.0F;
    QueryBlock rows(tensors, policy, estimates, b, h, query_block, unit);
    double *row =
        values.data() + ((static_cast<std::size_t>(b) * tensors.num_q_heads + h) * q_blocks + query_block) * k_blocks;
    for (int block = region.first_visible; block < region.visible_blocks; ++block) {
      row[block] = dense || region.in_reference(block) ? infinity : rows.judge(block, false).margin();
    }
  });
  return Margins(tensors.num_q_heads, q_blocks, k_blocks, std::move(values));
}

} // namespace

Margins estimate_margins(const Tensors &tensors, const Policy &policy, const Estimates &estimates,
                         const std::vector<bool> &chosen) {
  return margins_in(MarginUnit::product, tensors, policy, estimates, chosen);
}

Margins fp8_sum_margins(const Tensors &tensors, const Policy &policy, const Estimates &estimates) {
  return margins_in(MarginUnit::fp8_sum, tensors, policy, estimates);
}

double fp8_sum_bound(int estimate_dim) {
  // One for each 32 channels, one for the compare and one for what the sums inside a step of 32 lose.
  const int roundings = estimate_dim / 32 + 2;
  return 16.0 * roundings; // half a step of f16 below 2^16
}

} // namespace sale::reference
