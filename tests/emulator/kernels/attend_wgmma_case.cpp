// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/attend_wgmma_case.hpp"

#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/plain_attention.hpp"

#include "args/attend_wgmma_args.cuh"
#include "generator/generate.hpp"
#include "runtime/tensor_maps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace sale::test {

namespace {

KernelSpec spec_of(const AttendWgmmaCase &c) {
  KernelSpec spec;
  spec.stage = Stage::attend;
  spec.arch = {9, 0, true};
  spec.dtype = c.dtype;
  spec.head_dim = c.head_dim;
  spec.v_head_dim = c.v_head_dim;
  spec.gqa = c.gqa;
  spec.block_q = c.block_q;
  spec.block_k = c.block_k;
  spec.dense = c.dense;
  spec.second_filter = c.filtered;
  spec.causal = c.causal;
  spec.sliding = c.sliding_window != 0;
  spec.softcap = c.softcap != 0;
  spec.sink_logits = !c.sink_logits.empty();
  spec.tile = {.rows_per_warp = 16,
               .warps = 4 * c.consumers,
               .keys_per_step = c.keys_per_step,
               .stages = c.stages,
               .min_ctas = 1};
  return spec;
}

constexpr int sink = 40;
constexpr int window = 50;
constexpr int group_rows = 64;
constexpr int unit_keys = 32;
constexpr float scale = 0.125F;

std::vector<std::uint16_t> random_values(std::mt19937 &random, int rows, int head_dim) {
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> result(static_cast<std::size_t>(rows) * static_cast<std::size_t>(head_dim));
  std::generate(result.begin(), result.end(), [&] { return to_bf16(normal(random)); });
  return result;
}

// Few bits of bf16's range are used here: its values are also values of f16.
std::vector<std::uint16_t> as(DType dtype, std::vector<std::uint16_t> values) {
  if (dtype == DType::f16) {
    for (std::uint16_t &value : values) {
      value = std::bit_cast<std::uint16_t>(static_cast<_Float16>(from_bf16(value)));
    }
  }
  return values;
}

float to_float(DType dtype, std::uint16_t value) {
  return dtype == DType::f16 ? static_cast<float>(std::bit_cast<_Float16>(value)) : from_bf16(value);
}

// One batch element's share of a tensor.
std::vector<std::uint16_t> slice(const std::vector<std::uint16_t> &all, int index, int count) {
  const std::size_t size = all.size() / static_cast<std::size_t>(count);
  const auto begin = all.begin() + static_cast<std::ptrdiff_t>(size * static_cast<std::size_t>(index));
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

// What the second filter sees of one head.
struct FilteredHead {
  const AttendWgmmaCase &c;
  const std::uint16_t *q;
  const std::uint16_t *k;
  const float *threshold;

  bool in_region(int query_block, int key) const {
    const int first = c.kv_len - c.q_len + query_block * c.block_q; // position
    const int begin = key / c.block_k * c.block_k;
    const int end = begin + c.block_k;
    if (!c.causal) {
      return begin < sink || end > c.kv_len || (end > first - window && begin < first + c.block_q + window);
    }
    const bool leaves = c.sliding_window != 0 && begin <= first + c.block_q - 1 - c.sliding_window;
    return begin < sink || end > std::max(0, first - window) || leaves;
  }
  // Whether some row of the group has a score above its threshold in the 32 keys around `key`.
  bool any_above(int group, int key) const {
    const int end = std::min(c.q_len, (group + 1) * group_rows);
    for (int row = group * group_rows; row < end; ++row) {
      for (int i = key / unit_keys * unit_keys; i < (key / unit_keys + 1) * unit_keys; ++i) {
        double score = 0;
        for (int d = 0; d < c.head_dim; ++d) {
          score += static_cast<double>(from_bf16(q[row * c.head_dim + d])) * from_bf16(k[i * c.head_dim + d]);
        }
        if (score > threshold[row]) {
          return true;
        }
      }
    }
    return false;
  }
  bool drops(int row, int key) const { return !in_region(row / c.block_q, key) && !any_above(row / group_rows, key); }
};

float sink_of(const AttendWgmmaCase &c, int head) {
  return c.sink_logits[static_cast<std::size_t>(head) % c.sink_logits.size()];
}

// One more logit in the sum, which brings no value.
void add_sink(PlainAttention::Row &row, double logit) {
  const double highest = std::max(row.lse, logit);
  if (std::isinf(highest)) {
    return;
  }
  const double lse = highest + std::log(std::exp(row.lse - highest) + std::exp(logit - highest));
  for (double &x : row.out) {
    x *= std::exp(row.lse - lse);
  }
  row.lse = lse;
}

} // namespace

std::ostream &operator<<(std::ostream &out, const AttendWgmmaCase &c) { return out << c.name; }

void expect_plain_loops(const AttendWgmmaCase &c) {
  const int mask_words = ((c.kv_len + c.block_k - 1) / c.block_k + 127) / 128 * 4;
  std::mt19937 random(static_cast<unsigned>(c.q_len * 1000 + c.kv_len));
  const int kv_heads = c.heads / c.gqa;
  std::vector<std::uint16_t> q = random_values(random, c.batch * c.heads * c.q_len, c.head_dim);
  std::vector<std::uint16_t> k = random_values(random, c.batch * kv_heads * c.kv_len, c.head_dim);
  const int v_head_dim = c.v_head_dim == 0 ? c.head_dim : c.v_head_dim;
  const std::vector<std::uint16_t> v = random_values(random, c.batch * kv_heads * c.kv_len, v_head_dim);
  if (c.level != 0) { // carried by channel 0
    for (std::size_t row = 0; row < q.size(); row += static_cast<std::size_t>(c.head_dim)) {
      q[row] = to_bf16(1);
    }
    for (std::size_t row = 0; row < k.size() / static_cast<std::size_t>(c.head_dim); ++row) {
      k[row * static_cast<std::size_t>(c.head_dim)] =
          to_bf16(c.level * 8 *
                  (2.0F - static_cast<float>(row % static_cast<std::size_t>(c.kv_len)) / static_cast<float>(c.kv_len)));
    }
  }
  const int q_blocks = (c.q_len + c.block_q - 1) / c.block_q;
  std::vector<std::uint32_t> bits(static_cast<std::size_t>(c.batch * c.heads * q_blocks) * mask_words, 0);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    std::bernoulli_distribution keep(c.kept[i / mask_words % static_cast<std::size_t>(q_blocks) % 2]);
    for (int bit = 0; bit < 32; ++bit) {
      bits[i] |= static_cast<std::uint32_t>(keep(random)) << bit; // those of invisible blocks too: nobody may look
    }
  }

  Device &device = Device::get();
  const KernelSpec spec = spec_of(c);
  const auto q_data = device.upload(as(c.dtype, q));
  const auto k_data = device.upload(as(c.dtype, k));
  const auto v_data = device.upload(as(c.dtype, v));
  const auto mask = device.upload(bits);
  const auto next_item = device.upload(std::vector<std::uint32_t>{0});
  const auto out =
      device.allocate(static_cast<std::size_t>(c.batch * c.heads * c.q_len) * static_cast<std::size_t>(v_head_dim) * 2);
  const auto lse = device.allocate(static_cast<std::size_t>(c.batch * c.heads * c.q_len) * 4);
  const auto map = [&](const DeviceBuffer &buffer, int heads, int tokens, int head_dim, int box_rows) {
    return map_tensor(device.driver(), packed_view(buffer.as<void>(), heads, tokens, head_dim), c.dtype, c.batch, heads,
                      tokens, head_dim, box_rows);
  };
  AttendWgmmaArgs args{};
  args.q = map(*q_data, c.heads, c.q_len, c.head_dim, 64);
  args.k = map(*k_data, kv_heads, c.kv_len, c.head_dim, spec.keys_per_copy());
  args.v = map(*v_data, kv_heads, c.kv_len, v_head_dim, spec.keys_per_copy());
  args.out = {out->as<void>(), static_cast<long long>(c.heads) * c.q_len * v_head_dim,
              static_cast<long long>(c.q_len) * v_head_dim, v_head_dim};
  args.lse = lse->as<float>();
  args.mask = mask->as<unsigned>();
  const int q_padded = (c.q_len + 127) / 128 * 128;
  std::vector<float> thresholds(static_cast<std::size_t>(c.batch * c.heads * q_padded),
                                std::numeric_limits<float>::infinity());
  for (std::size_t row = 0; row < thresholds.size(); ++row) {
    if (static_cast<int>(row) % q_padded < c.q_len) {
      // The largest of 64 x 32 scores is near 3.5 deviations.
      thresholds[row] = std::sqrt(static_cast<float>(c.head_dim)) * (3.3F + 0.1F * static_cast<float>(row % 5));
    }
  }
  const auto threshold = device.upload(thresholds);
  args.threshold = c.filtered ? threshold->as<float>() : nullptr;
  args.sink = sink;
  args.window = window;
  args.next_item = c.dynamic ? next_item->as<unsigned>() : nullptr;
  args.batch = c.batch;
  args.num_q_heads = c.heads;
  args.q_len = c.q_len;
  args.kv_len = c.kv_len;
  args.mask_words = mask_words;
  args.softmax_scale = scale;
  args.sliding_window = c.sliding_window;
  args.softcap = c.softcap;
  std::vector<float> sinks(static_cast<std::size_t>(c.heads), 0.0F);
  for (int head = 0; head < c.heads && !c.sink_logits.empty(); ++head) {
    sinks[static_cast<std::size_t>(head)] = sink_of(c, head);
  }
  const auto sink_logits = device.upload(sinks);
  args.sink_logits = c.sink_logits.empty() ? nullptr : sink_logits->as<float>();
  device.run(generate(spec), spec.entry_name().c_str(), {c.ctas, 1}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});

  const std::vector<std::uint16_t> got = out->read<std::uint16_t>();
  const std::vector<float> got_lse = lse->read<float>();
  std::vector<bool> dropped; // keys of the current group of rows
  std::ptrdiff_t drops = 0;
  for (int b = 0; b < c.batch; ++b) {
    const std::vector<std::uint16_t> q_slice = slice(q, b, c.batch);
    const std::vector<std::uint16_t> k_slice = slice(k, b, c.batch);
    const std::vector<std::uint16_t> v_slice = slice(v, b, c.batch);
    const PlainAttention plain{q_slice,  k_slice,  v_slice, c.head_dim, c.gqa,     c.q_len,
                               c.kv_len, c.causal, scale,   c.softcap,  v_head_dim};
    for (int row = 0; row < c.heads * c.q_len; ++row) {
      const int head = row / c.q_len;
      const int token = row % c.q_len;
      const std::uint32_t *mask_row =
          bits.data() + static_cast<std::size_t>((b * c.heads + head) * q_blocks + token / c.block_q) * mask_words;
      const FilteredHead filter{c, q_slice.data() + static_cast<std::ptrdiff_t>(head) * c.q_len * c.head_dim,
                                k_slice.data() + static_cast<std::ptrdiff_t>(head / c.gqa) * c.kv_len * c.head_dim,
                                thresholds.data() + static_cast<std::ptrdiff_t>(b * c.heads + head) * q_padded};
      if (c.filtered && token % group_rows == 0) {
        dropped.assign(static_cast<std::size_t>(c.kv_len), false);
        for (int key = 0; key + unit_keys <= c.kv_len; key += unit_keys) {
          std::fill_n(dropped.begin() + key, unit_keys, filter.drops(token, key));
        }
        drops += std::count(dropped.begin(), dropped.end(), true);
      }
      const int oldest = c.sliding_window == 0 ? 0 : c.kv_len - c.q_len + token - c.sliding_window + 1;
      PlainAttention::Row expected = plain.row(head, token, [&](int key) {
        const bool kept =
            key < oldest ? false : c.dense || (mask_row[key / c.block_k / 32] >> (key / c.block_k % 32) & 1U) != 0;
        return kept && !(c.filtered && dropped[static_cast<std::size_t>(key)]);
      });
      if (!c.sink_logits.empty()) {
        add_sink(expected, sink_of(c, head));
      }
      const auto at = static_cast<std::size_t>(b * c.heads * c.q_len + row);
      const std::string where = fmt::format("batch {} head {} row {}", b, head, token);
      if (std::isinf(expected.lse)) {
        ASSERT_EQ(got_lse[at], expected.lse) << where;
      } else {
        ASSERT_NEAR(got_lse[at], expected.lse, 1e-3 + 1e-6 * std::abs(expected.lse)) << where;
      }
      for (int d = 0; d < v_head_dim; ++d) {
        // Probabilities and outputs are rounded to 8 bits.
        ASSERT_NEAR(to_float(c.dtype, got[at * static_cast<std::size_t>(v_head_dim) + static_cast<std::size_t>(d)]),
                    expected.out[static_cast<std::size_t>(d)], 0.02)
            << where << " channel " << d;
      }
    }
  }
  EXPECT_EQ(c.filtered, drops > 0);
}

KernelSpec attend_wgmma_spec(int head_dim, DType dtype, AttendKind kind) {
  KernelSpec spec;
  spec.stage = Stage::attend;
  spec.arch = {9, 0, true};
  spec.dtype = dtype;
  spec.head_dim = head_dim;
  spec.gqa = 4;
  spec.dense = kind == AttendKind::dense;
  spec.second_filter = kind == AttendKind::filtered;
  return spec;
}

} // namespace sale::test
