// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/ragged_batch.hpp"

#include <algorithm>
#include <utility>

namespace sale::test {

namespace {

constexpr int unit_rows = 512;
constexpr int tile_rows = 128;
constexpr unsigned nobody = ~0U;
constexpr unsigned poison = 0xdeadbeefU;

int ceil_div(int value, int divisor) { return (value + divisor - 1) / divisor; }

} // namespace

RaggedBatch::RaggedBatch(const std::vector<SequenceLengths> &sequences, const BatchLayout &layout)
    : max_q_len(layout.max_q_len), max_kv_len(layout.max_kv_len) {
  const int batch = static_cast<int>(sequences.size());
  int sum_q = 0;
  int sum_kv = 0;
  for (const SequenceLengths &sequence : sequences) {
    max_q_len = std::max(max_q_len, sequence.q_len);
    max_kv_len = std::max(max_kv_len, sequence.kv_len);
    sum_q += sequence.q_len;
    sum_kv += sequence.kv_len;
  }
  total_q = layout.packed_q ? sum_q : max_q_len;
  total_kv = layout.packed_kv ? sum_kv : max_kv_len;
  const int q_blocks = ceil_div(max_q_len, layout.block_q);
  const int q_padded = ceil_div(max_q_len, tile_rows) * tile_rows;
  const int kv_padded = ceil_div(max_kv_len, tile_rows) * tile_rows;
  const int units = ceil_div(max_q_len, unit_rows);
  arg_.q_rows = layout.packed_q ? tile_rows * (sum_q / tile_rows + batch) : batch * q_padded;
  arg_.kv_rows = layout.packed_kv ? tile_rows * (sum_kv / tile_rows + batch) : batch * kv_padded;
  arg_.slots = layout.packed_q ? sum_q / unit_rows + batch : batch * units;
  arg_.lse_stride = layout.packed_q ? sum_q : max_q_len;
  arg_.mask_stride = layout.packed_q ? sum_q / layout.block_q + batch : q_blocks;
  arg_.q_batch = layout.packed_q ? 0 : 1;
  arg_.kv_batch = layout.packed_kv ? 0 : 1;
  arg_.kbar_stride = layout.kbar_stride;
  arg_.dense_below = layout.dense_below;
  mask_rows = layout.num_q_heads * (layout.packed_q ? static_cast<int>(arg_.mask_stride) : batch * q_blocks);
  lse_rows = layout.num_q_heads * (layout.packed_q ? sum_q : batch * max_q_len);

  key_units.assign(static_cast<std::size_t>(arg_.kv_rows / tile_rows), nobody);
  std::vector<std::pair<int, unsigned>> weighted; // visible keys of a unit's last row
  int q_start = 0;
  int kv_start = 0;
  for (int b = 0; b < batch; ++b) {
    const SequenceLengths &sequence = sequences[static_cast<std::size_t>(b)];
    ::SequenceEntry entry{};
    entry.q_len = sequence.q_len;
    entry.kv_len = sequence.kv_len;
    entry.position = sequence.position.value_or(sequence.kv_len - sequence.q_len);
    entry.key_offset = sequence.key_offset;
    entry.q_start = layout.packed_q ? q_start : 0;
    entry.kv_start = layout.packed_kv ? kv_start : 0;
    entry.q_row = layout.packed_q ? tile_rows * (q_start / tile_rows + b) : b * q_padded;
    entry.kv_row = layout.packed_kv ? tile_rows * (kv_start / tile_rows + b) : b * kv_padded;
    entry.lse_row = layout.packed_q ? q_start : static_cast<long long>(b) * layout.num_q_heads * max_q_len;
    entry.mask_row =
        layout.packed_q ? q_start / layout.block_q + b : static_cast<long long>(b) * layout.num_q_heads * q_blocks;
    entry.coded_len = sequence.coded_len;
    entries.push_back(entry);
    for (int unit = 0; unit < ceil_div(sequence.q_len, unit_rows); ++unit) {
      const int end = entry.position + std::min((unit + 1) * unit_rows, sequence.q_len);
      int visible = layout.causal ? std::clamp(end, 0, sequence.kv_len) : sequence.kv_len;
      if (layout.sliding_window > 0) {
        visible = std::min(visible, layout.sliding_window);
      }
      weighted.emplace_back(visible, static_cast<unsigned>(b) << 16 | static_cast<unsigned>(unit));
    }
    for (int key = 0; key < sequence.kv_len; key += tile_rows) {
      key_units[static_cast<std::size_t>((entry.kv_row + key) / tile_rows)] = static_cast<unsigned>(b);
    }
    q_start += sequence.q_len;
    kv_start += sequence.kv_len;
  }
  std::stable_sort(weighted.begin(), weighted.end(), [](const auto &a, const auto &b) { return a.first > b.first; });
  counts.row_units = static_cast<int>(weighted.size());
  counts.kv_tokens = sum_kv;
  row_units.assign(static_cast<std::size_t>(arg_.slots), poison);
  std::transform(weighted.begin(), weighted.end(), row_units.begin(), [](const auto &unit) { return unit.second; });

  const Device &device = Device::get();
  const auto upload = [&](const auto &values) {
    buffers_.push_back(device.upload(values));
    return buffers_.back().get();
  };
  arg_.sequences = upload(entries)->as<const ::SequenceEntry>();
  arg_.counts = upload(std::vector{counts})->as<const ::SequenceCounts>();
  arg_.row_units = upload(row_units)->as<const unsigned>();
  arg_.key_units = upload(key_units)->as<const unsigned>();
}

} // namespace sale::test
