// SPDX-License-Identifier: Apache-2.0
#include "calibrate/sequences.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace sale {

using reference::Tensors;

namespace {

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

void check(const Tensors &sample, bool cut) {
  reference::validate(sample);
  for (const std::vector<float> *values : {&sample.q, &sample.k, &sample.v}) {
    if (!std::all_of(values->begin(), values->end(), [](float x) { return std::isfinite(x); })) {
      refuse("q, k and v must be finite; there is a NaN or an infinity among them");
    }
  }
  if (cut && sample.shape.q_len != sample.shape.kv_len) {
    refuse(fmt::format("prefixes need a query for every key, but a sample has {} queries and {} keys; capture whole "
                       "sequences, or ask for no lengths",
                       sample.shape.q_len, sample.shape.kv_len));
  }
}

/// The first `tokens` rows of each of `heads` heads of batch element b.
std::vector<float> cut(const std::vector<float> &values, int b, int heads, int length, int tokens, int width) {
  std::vector<float> result;
  result.reserve(static_cast<std::size_t>(heads) * tokens * width);
  for (int h = 0; h < heads; ++h) {
    const auto first = values.begin() + (static_cast<std::ptrdiff_t>(b) * heads + h) * length * width;
    result.insert(result.end(), first, first + static_cast<std::ptrdiff_t>(tokens) * width);
  }
  return result;
}

Tensors sequence(const Tensors &sample, int b, int kv_len) {
  Tensors result;
  result.num_q_heads = sample.num_q_heads;
  result.num_kv_heads = sample.num_kv_heads;
  result.head_dim = sample.head_dim;
  result.v_head_dim = sample.v_head_dim;
  result.shape = {1, std::min(sample.shape.q_len, kv_len), kv_len};
  result.q = cut(sample.q, b, sample.num_q_heads, sample.shape.q_len, result.shape.q_len, sample.head_dim);
  result.k = cut(sample.k, b, sample.num_kv_heads, sample.shape.kv_len, kv_len, sample.head_dim);
  result.v = cut(sample.v, b, sample.num_kv_heads, sample.shape.kv_len, kv_len, sample.v_width());
  return result;
}

std::vector<bool> choose(int q_blocks, int block_q, const SequenceChoice &choice) {
  std::vector<int> candidates;
  for (int m = 0; m < q_blocks; ++m) {
    if (is_in(choice.part, m)) {
      candidates.push_back(m);
    }
  }
  const auto all = static_cast<std::int64_t>(candidates.size());
  const std::int64_t count = choice.rows == 0 ? all : std::min<std::int64_t>(all, (choice.rows - 1) / block_q + 1);
  std::vector<bool> chosen(q_blocks);
  for (std::int64_t i = 0; i < count; ++i) {
    chosen[candidates[(2 * i + 1) * all / (2 * count)]] = true;
  }
  return chosen;
}

} // namespace

std::vector<Sequence> sequences_of(const std::vector<Tensors> &samples, const Policy &policy,
                                   const SequenceChoice &choice) {
  int longest = 0;
  for (const Tensors &sample : samples) {
    check(sample, !choice.lengths.empty());
    longest = std::max(longest, sample.shape.kv_len);
  }
  for (const int length : choice.lengths) {
    if (length < 1 || length > longest) {
      refuse(fmt::format("length {} must be from 1 to {}, the tokens of the longest sample", length, longest));
    }
  }
  std::vector<Sequence> sequences;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    const Tensors &sample = samples[s];
    std::set<int> lengths = {sample.shape.kv_len};
    for (const int length : choice.lengths) {
      lengths.insert(std::min(length, sample.shape.kv_len));
    }
    for (int b = 0; b < sample.shape.batch; ++b) {
      for (const int length : lengths) {
        Sequence result{static_cast<int>(s), sequence(sample, b, length), {}};
        result.chosen = choose(reference::ceil_div(result.tensors.shape.q_len, policy.block_q), policy.block_q, choice);
        sequences.push_back(std::move(result));
      }
    }
  }
  return sequences;
}

} // namespace sale
