// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/attend_sequence.hpp"

#include "tests/emulator/kernels/plain_attention.hpp"

#include "generator/generate.hpp"
#include "runtime/tensor_maps.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <utility>

namespace sale::test {

KernelSpec spec_of(const AttendRaggedCase &c) {
  KernelSpec spec;
  spec.stage = Stage::attend;
  spec.arch = {9, 0, true};
  spec.head_dim = c.head_dim;
  spec.v_head_dim = c.v_head_dim;
  spec.gqa = heads / c.kv_heads;
  spec.block_q = c.block_q;
  spec.dense = c.dense;
  spec.fp8_attend = c.fp8;
  spec.second_filter = c.filtered;
  spec.causal = c.causal;
  spec.sliding = c.sliding_window != 0;
  spec.softcap = c.softcap != 0;
  spec.sink_logits = c.sinks;
  spec.tile = {.rows_per_warp = 16, .warps = 8, .keys_per_step = c.keys_per_step, .stages = c.stages, .min_ctas = 1};
  return spec;
}

SequenceData random_data(const AttendRaggedCase &c, const SequenceLengths &lengths, int mask_words, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const auto elements = [&](int rows, int channels) {
    Elements result(static_cast<std::size_t>(rows * channels));
    std::generate(result.begin(), result.end(), [&] { return to_bf16(normal(random)); });
    return result;
  };
  const auto codes = [&](int rows) { // of small numbers
    std::vector<std::uint8_t> result(static_cast<std::size_t>(rows * c.head_dim));
    std::generate(result.begin(), result.end(),
                  [&] { return static_cast<std::uint8_t>(random() % 2 << 7 | random() % 60); });
    return result;
  };
  SequenceData data;
  data.lengths = lengths;
  data.q = elements(heads * lengths.q_len, c.head_dim);
  data.k = elements(c.kv_heads * lengths.kv_len, c.head_dim);
  data.v = elements(c.kv_heads * lengths.kv_len, c.v_width());
  data.k_codes = codes(c.kv_heads * lengths.kv_len);
  data.v_codes = codes(c.kv_heads * data.kv_padded());
  data.scales.assign(static_cast<std::size_t>(c.kv_heads * data.kv_padded() / 32 * 4), 0);
  for (std::size_t i = 0; i < data.scales.size(); i += 4) {
    data.scales[i] = (13U + static_cast<unsigned>(random() % 3)) * 0x04000400U; // 1/4 to 1, twice
  }
  std::bernoulli_distribution keep(c.kept);
  data.mask.assign(static_cast<std::size_t>(heads * data.q_blocks(c.block_q) * mask_words), 0);
  for (std::uint32_t &word : data.mask) {
    for (int bit = 0; bit < 32; ++bit) { // those of keys that there are not too
      word |= static_cast<std::uint32_t>(keep(random)) << bit;
    }
  }
  data.thresholds.assign(static_cast<std::size_t>(heads * data.q_padded()), std::numeric_limits<float>::infinity());
  for (int row = 0; row < heads * data.q_padded(); ++row) {
    if (row % data.q_padded() < lengths.q_len) {
      data.thresholds[static_cast<std::size_t>(row)] = 8 * (2.8F + 0.1F * static_cast<float>(row % 5));
    }
  }
  data.largest.resize(static_cast<std::size_t>(c.kv_heads));
  std::generate(data.largest.begin(), data.largest.end(),
                [&] { return (126U + static_cast<unsigned>(random() % 4)) << 23; });
  data.kbar.resize(static_cast<std::size_t>(c.kv_heads * c.head_dim));
  std::generate(data.kbar.begin(), data.kbar.end(), [&] { return normal(random); });
  return data;
}

AttendWgmmaArgs common_args(const AttendRaggedCase &c, int mask_words, const DeviceBuffer &sinks) {
  AttendWgmmaArgs args{};
  args.sink = sink;
  args.window = window;
  args.num_q_heads = heads;
  args.mask_words = mask_words;
  args.softmax_scale = scale;
  args.sliding_window = c.sliding_window;
  args.softcap = c.softcap;
  args.sink_logits = c.sinks ? sinks.as<float>() : nullptr;
  return args;
}

void launch(const KernelSpec &spec, unsigned ctas, AttendWgmmaArgs &args) {
  Device::get().run(generate(spec), spec.entry_name().c_str(), {ctas, 1}, static_cast<unsigned>(spec.threads()),
                    static_cast<unsigned>(spec.shared_memory()), {&args});
}

namespace {

// Of the last q_len rows.
SequenceResult plain_call(const AttendRaggedCase &c, const SequenceData &data, int mask_words, int q_len) {
  Device &device = Device::get();
  const KernelSpec spec = spec_of(c);
  const int skipped = data.lengths.q_len - q_len;
  const auto rows_of = [&](const auto &all, int per_head, int first, int size) {
    auto rows = all;
    rows.clear();
    for (int h = 0; h < heads; ++h) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(per_head * h + first) * size;
      rows.insert(rows.end(), begin, begin + static_cast<std::ptrdiff_t>(per_head - first) * size);
    }
    return rows;
  };
  const int kv_len = data.lengths.kv_len;
  const auto q = device.upload(rows_of(data.q, data.lengths.q_len, skipped, c.head_dim));
  const auto k = device.upload(data.k);
  const auto v = device.upload(data.v);
  const auto k_codes = device.upload(data.k_codes);
  const auto v_codes = device.upload(data.v_codes);
  const auto scales = device.upload(data.scales);
  const auto mask = device.upload(rows_of(data.mask, data.q_blocks(c.block_q), skipped / c.block_q, mask_words));
  const auto thresholds = device.upload(rows_of(data.thresholds, data.q_padded(), skipped, 1));
  const auto kbar = device.upload(data.kbar);
  const auto largest = device.upload(data.largest);
  const auto sinks = device.upload(std::vector<float>{0.5F, 3});
  const auto out = device.allocate(static_cast<std::size_t>(heads * q_len * c.v_width()) * 2);
  const auto lse = device.allocate(static_cast<std::size_t>(heads * q_len) * 4);
  AttendWgmmaArgs args = common_args(c, mask_words, *sinks);
  const auto map = [&](const DeviceBuffer &buffer, int heads_of, int tokens, int channels, int box_rows) {
    return map_tensor(device.driver(), packed_view(buffer.as<void>(), heads_of, tokens, channels), DType::bf16, 1,
                      heads_of, tokens, channels, box_rows);
  };
  args.q = map(*q, heads, q_len, c.head_dim, 64);
  args.k = c.fp8 ? map_codes(device.driver(), k_codes->as<void>(), c.kv_heads, kv_len, c.head_dim, spec.keys_per_copy())
                 : map(*k, c.kv_heads, kv_len, c.head_dim, spec.keys_per_copy());
  args.v = map(*v, c.kv_heads, kv_len, c.v_width(), spec.keys_per_copy());
  args.v_codes = v_codes->as<unsigned char>();
  args.scales = scales->as<unsigned>();
  args.v_amax = largest->as<unsigned>();
  args.kbar = kbar->as<float>();
  args.out = {out->as<void>(), 0, static_cast<long long>(q_len) * c.v_width(), c.v_width()};
  args.lse = lse->as<float>();
  args.mask = mask->as<unsigned>();
  args.threshold = kv_len < c.dense_below ? nullptr : thresholds->as<float>();
  args.batch = 1;
  args.q_len = q_len;
  args.kv_len = kv_len;
  launch(spec, 1, args);
  return {out->read<std::uint16_t>(), lse->read<float>()};
}

} // namespace

SequenceResult expected(const AttendRaggedCase &c, const SequenceData &data, int mask_words) {
  const auto [q_len, kv_len] = std::pair(data.lengths.q_len, data.lengths.kv_len);
  const int position = data.lengths.position.value_or(kv_len - q_len);
  if (position >= kv_len && kv_len > 0 && q_len > 0) {
    AttendRaggedCase two_sided = c;
    two_sided.causal = false;
    return plain_call(two_sided, data, mask_words, q_len);
  }
  const int seeing = c.causal ? std::clamp(position + q_len, 0, q_len) : (kv_len == 0 ? 0 : q_len);
  EXPECT_TRUE(seeing == 0 || (q_len - seeing) % 128 == 0);
  SequenceResult result{Elements(static_cast<std::size_t>(heads * q_len * c.v_width()), 0),
                        std::vector<float>(static_cast<std::size_t>(heads * q_len))};
  for (int row = 0; row < heads * q_len; ++row) {
    result.lse[static_cast<std::size_t>(row)] =
        c.sinks ? (row < q_len ? 0.5F : 3.0F) : -std::numeric_limits<float>::infinity();
  }
  if (seeing == 0) {
    return result;
  }
  const SequenceResult plain = plain_call(c, data, mask_words, seeing);
  for (int h = 0; h < heads; ++h) {
    const std::ptrdiff_t from = std::ptrdiff_t{seeing} * h;
    const std::ptrdiff_t to = std::ptrdiff_t{q_len} * h + q_len - seeing;
    std::copy_n(plain.out.begin() + from * c.v_width(), seeing * c.v_width(), result.out.begin() + to * c.v_width());
    std::copy_n(plain.lse.begin() + from, seeing, result.lse.begin() + to);
  }
  return result;
}

} // namespace sale::test
