// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/plain_attention.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace sale::test {

std::uint16_t to_bf16(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1U)) >> 16);
}

float from_bf16(std::uint16_t value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
  float result = 0;
  std::memcpy(&result, &bits, 4);
  return result;
}

PlainAttention::Row PlainAttention::row(int head, int row, const std::function<bool(int)> &kept) const {
  constexpr double none = -std::numeric_limits<double>::infinity();
  const auto row_of = [](const std::vector<std::uint16_t> &x, int h, int len, int i, int channels) {
    return x.data() + (static_cast<std::size_t>(h) * len + i) * channels;
  };
  const int out_channels = v_head_dim == 0 ? head_dim : v_head_dim;
  const int end = causal ? kv_len - q_len + row + 1 : kv_len;
  std::vector<double> score(static_cast<std::size_t>(end), none);
  for (int key = 0; key < end; ++key) {
    if (kept(key)) {
      double dot = 0;
      for (int d = 0; d < head_dim; ++d) {
        dot += static_cast<double>(from_bf16(row_of(q, head, q_len, row, head_dim)[d])) *
               from_bf16(row_of(k, head / gqa, kv_len, key, head_dim)[d]);
      }
      score[static_cast<std::size_t>(key)] = softcap == 0 ? scale * dot : softcap * std::tanh(scale * dot / softcap);
    }
  }
  Row result{std::vector<double>(static_cast<std::size_t>(out_channels), 0.0), none};
  const double highest = end == 0 ? none : *std::max_element(score.begin(), score.end());
  double sum = 0;
  for (int key = 0; key < end && highest != none; ++key) {
    const double p = std::exp(score[static_cast<std::size_t>(key)] - highest);
    sum += p;
    for (int d = 0; p > 0 && d < out_channels; ++d) {
      result.out[static_cast<std::size_t>(d)] += p * from_bf16(row_of(v, head / gqa, kv_len, key, out_channels)[d]);
    }
  }
  if (sum > 0) {
    result.lse = highest + std::log(sum);
    for (double &x : result.out) {
      x /= sum;
    }
  }
  return result;
}

} // namespace sale::test
