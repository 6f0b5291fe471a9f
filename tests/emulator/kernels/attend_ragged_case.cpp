// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/attend_ragged_case.hpp"

#include "tests/emulator/kernels/attend_sequence.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include "args/tails_args.cuh"
#include "generator/generate.hpp"
#include "runtime/tensor_maps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <random>

namespace sale::test {

namespace {

// A tensor of a batch: where its rows lie.
struct Place {
  long long stride_batch = 0;
  long long stride_head = 0;
  long long stride_token = 0;
  int batches = 1;
  int tokens = 0; ///< Of a batch element, which may be a page.

  std::size_t elements(int heads_of) const {
    return static_cast<std::size_t>(std::max({batches * stride_batch, heads_of * stride_head, tokens * stride_token}));
  }
  TensorView view(void *data) const { return {data, stride_batch, stride_head, stride_token}; }
  ::TensorArg arg(void *data) const { return {data, stride_batch, stride_head, stride_token}; }
};

Place rows_place(bool packed, int batch, int rows, int heads_of, int head_dim) {
  const long long stride_head = 1LL * rows * head_dim;
  return {heads_of * stride_head, stride_head, head_dim, packed ? 1 : batch, rows};
}

Place pages_place(const AttendRaggedCase &c, int pages, int channels) {
  const long long stride_batch = 1LL * c.kv_heads * c.page_size * channels;
  if (c.heads_first) {
    return {stride_batch, 1LL * c.page_size * channels, channels, pages, c.page_size};
  }
  return {stride_batch, channels, 1LL * c.kv_heads * channels, pages, c.page_size};
}

// A ragged call: its tensors as the sequences' rows.
class RaggedCall {
public:
  RaggedCall(const AttendRaggedCase &c, const std::vector<SequenceData> &all, int mask_words)
      : c_(c), all_(all), mask_words_(mask_words), paged_(c.page_size != 0),
        batch_(c.sequences, {.num_q_heads = heads,
                             .block_q = c.block_q,
                             .packed_q = c.packed,
                             .packed_kv = c.packed && !paged_,
                             .causal = c.causal,
                             .kbar_stride = c.kv_heads * c.head_dim,
                             .dense_below = c.dense_below}) {
    place_pages();
    const int count = static_cast<int>(all.size());
    q_place_ = rows_place(c.packed, count, batch_.total_q, heads, c.head_dim);
    out_place_ = rows_place(c.packed, count, batch_.total_q, heads, c.v_width());
    const auto keys_place = [&](int channels) {
      return paged_ ? pages_place(c, static_cast<int>(pages_), channels)
                    : rows_place(c.packed, count, batch_.total_kv, c.kv_heads, channels);
    };
    k_place_ = keys_place(c.head_dim);
    v_place_ = keys_place(c.v_width());
  }

  void run() {
    Device &device = Device::get();
    KernelSpec spec = spec_of(c_);
    spec.ragged = true;
    spec.parts = c_.parts;
    spec.page_rows = !paged_ ? 0 : c_.page_size % 32 == 0 ? 32 : 16;
    const int box = spec.keys_per_box();
    const auto q = device.upload(gather_queries());
    const auto k = device.upload(gather_keys(&SequenceData::k, k_place_, c_.head_dim));
    const auto v = device.upload(gather_keys(&SequenceData::v, v_place_, c_.v_width()));
    const auto table = device.upload(table_);
    const auto k_codes = device.upload(workspace_keys<std::uint8_t>(&SequenceData::k_codes, c_.head_dim, false, 0x7f));
    const auto v_codes = device.upload(workspace_keys<std::uint8_t>(&SequenceData::v_codes, c_.head_dim, true, 0x7f));
    const auto scales = device.upload(workspace_groups());
    const auto mask = device.upload(gather_mask());
    const auto thresholds = device.upload(workspace_rows());
    const auto kbar = device.upload(joined(&SequenceData::kbar));
    const auto largest = device.upload(joined(&SequenceData::largest));
    const auto sinks = device.upload(std::vector<float>{0.5F, 3});
    const auto counter = device.upload(std::vector<std::uint32_t>{0});
    const auto tails = device.allocate(all_.size() * c_.kv_heads * 32 * static_cast<std::size_t>(c_.v_width()) * 2);
    const auto map = [&](const DeviceBuffer &buffer, const Place &place, int heads_of, int channels, int box_rows) {
      return map_tensor(device.driver(), place.view(buffer.as<void>()), DType::bf16, place.batches, heads_of,
                        place.tokens, channels, box_rows);
    };
    ::PagedArg paged{};
    paged.table = table->as<const int>();
    paged.table_stride = table_stride_;
    paged.page_size = c_.page_size;
    paged.num_pages = static_cast<int>(pages_);
    run_tails(spec, *v, *tails, paged);

    out_ = device.allocate(out_place_.elements(heads) * 2);
    lse_ = device.allocate(static_cast<std::size_t>(batch_.lse_rows) * 4);
    AttendWgmmaArgs args = common_args(c_, mask_words_, *sinks);
    args.q = map(*q, q_place_, heads, c_.head_dim, 64);
    args.k = c_.fp8 ? map_codes(device.driver(), k_codes->as<void>(), 1, c_.kv_heads * batch_.arg().kv_rows,
                                c_.head_dim, spec.keys_per_copy())
                    : map(*k, k_place_, c_.kv_heads, c_.head_dim, box);
    args.v = map(*v, v_place_, c_.kv_heads, c_.v_width(), box);
    args.v_tail = map(*tails, rows_place(false, static_cast<int>(all_.size()), 32, c_.kv_heads, c_.v_width()),
                      c_.kv_heads, c_.v_width(), box);
    args.v_codes = v_codes->as<unsigned char>();
    args.scales = scales->as<unsigned>();
    args.v_amax = largest->as<unsigned>();
    args.kbar = kbar->as<float>();
    args.out = out_place_.arg(out_->as<void>());
    args.lse = lse_->as<float>();
    args.mask = mask->as<unsigned>();
    args.threshold = thresholds->as<float>();
    args.next_item = counter->as<unsigned>();
    args.batch = static_cast<int>(all_.size());
    args.q_len = batch_.max_q_len;
    args.kv_len = batch_.max_kv_len;
    args.ragged = batch_.arg();
    args.paged = paged;
    launch(spec, c_.ctas, args);
  }

  // Compares what is left, sequence by sequence, and then that nothing else was written.
  void expect_results(const std::vector<SequenceResult> &results) const {
    Elements out = out_->read<std::uint16_t>();
    std::vector<std::uint32_t> lse = lse_->read<std::uint32_t>();
    for (std::size_t b = 0; b < all_.size(); ++b) {
      const int q_len = all_[b].lengths.q_len;
      for (int row = 0; row < heads * q_len; ++row) {
        const std::string where = fmt::format("sequence {} head {} row {}", b, row / q_len, row % q_len);
        const std::size_t at = query_element(out_place_, b, row / q_len, row % q_len);
        for (int d = 0; d < c_.v_width(); ++d) {
          ASSERT_EQ(out[at + static_cast<std::size_t>(d)],
                    results[b].out[static_cast<std::size_t>(row * c_.v_width() + d)])
              << where << " channel " << d;
          out[at + static_cast<std::size_t>(d)] = not_a_number;
        }
        std::uint32_t &got = lse[static_cast<std::size_t>(batch_.entries[b].lse_row +
                                                          row / q_len * batch_.arg().lse_stride + row % q_len)];
        ASSERT_EQ(got, std::bit_cast<std::uint32_t>(results[b].lse[static_cast<std::size_t>(row)])) << where;
        got = poison;
      }
    }
    EXPECT_EQ(std::count(out.begin(), out.end(), not_a_number), static_cast<std::ptrdiff_t>(out.size()));
    EXPECT_EQ(std::count(lse.begin(), lse.end(), poison), static_cast<std::ptrdiff_t>(lse.size()));
  }

private:
  // Every third page is nobody's.
  void place_pages() {
    for (const SequenceData &data : all_) {
      table_stride_ = std::max(table_stride_, paged_ ? (data.lengths.kv_len + c_.page_size - 1) / c_.page_size + 1 : 1);
    }
    table_.assign(all_.size() * static_cast<std::size_t>(table_stride_), -1);
    if (!paged_) {
      return;
    }
    std::vector<int> numbers;
    for (std::size_t b = 0; b < all_.size(); ++b) {
      for (int key = 0; key < all_[b].lengths.kv_len; key += c_.page_size) {
        numbers.push_back(static_cast<int>(numbers.size() * 3 / 2));
      }
    }
    pages_ = numbers.size() * 3 / 2 + 1;
    std::shuffle(numbers.begin(), numbers.end(), std::mt19937(1));
    std::size_t next = 0;
    for (std::size_t b = 0; b < all_.size(); ++b) {
      for (int page = 0; page * c_.page_size < all_[b].lengths.kv_len; ++page) {
        table_[b * static_cast<std::size_t>(table_stride_) + static_cast<std::size_t>(page)] = numbers[next++];
      }
    }
  }

  std::size_t query_element(const Place &place, std::size_t b, int head, int row) const {
    return static_cast<std::size_t>(static_cast<long long>(b) * batch_.arg().q_batch * place.stride_batch +
                                    head * place.stride_head + (batch_.entries[b].q_start + row) * place.stride_token);
  }
  std::size_t key_element(const Place &place, std::size_t b, int head, int key) const {
    if (paged_) {
      const int page =
          table_[b * static_cast<std::size_t>(table_stride_) + static_cast<std::size_t>(key / c_.page_size)];
      return static_cast<std::size_t>(page * place.stride_batch + head * place.stride_head +
                                      key % c_.page_size * place.stride_token);
    }
    return static_cast<std::size_t>(static_cast<long long>(b) * batch_.arg().kv_batch * place.stride_batch +
                                    head * place.stride_head + (batch_.entries[b].kv_start + key) * place.stride_token);
  }

  Elements gather_queries() const {
    Elements result(q_place_.elements(heads), not_a_number);
    for (std::size_t b = 0; b < all_.size(); ++b) {
      const int q_len = all_[b].lengths.q_len;
      for (int row = 0; row < heads * q_len; ++row) {
        std::copy_n(all_[b].q.begin() + static_cast<std::ptrdiff_t>(row) * c_.head_dim, c_.head_dim,
                    result.begin() + static_cast<std::ptrdiff_t>(query_element(q_place_, b, row / q_len, row % q_len)));
      }
    }
    return result;
  }
  Elements gather_keys(Elements SequenceData::*rows, const Place &place, int channels) const {
    Elements result(place.elements(c_.kv_heads), not_a_number);
    for (std::size_t b = 0; b < all_.size(); ++b) {
      const int kv_len = all_[b].lengths.kv_len;
      for (int row = 0; row < c_.kv_heads * kv_len; ++row) {
        std::copy_n((all_[b].*rows).begin() + static_cast<std::ptrdiff_t>(row) * channels, channels,
                    result.begin() + static_cast<std::ptrdiff_t>(key_element(place, b, row / kv_len, row % kv_len)));
      }
    }
    return result;
  }

  // `size` of each key at its row of the workspace, of all 128 of a slot where `whole`.
  template <class T>
  std::vector<T> workspace_keys(std::vector<T> SequenceData::*values, int size, bool whole, T nothing) const {
    std::vector<T> result(static_cast<std::size_t>(c_.kv_heads * batch_.arg().kv_rows * size), nothing);
    for (std::size_t b = 0; b < all_.size(); ++b) {
      const int rows = whole ? all_[b].kv_padded() : all_[b].lengths.kv_len;
      for (int h = 0; h < c_.kv_heads; ++h) {
        const std::ptrdiff_t to = h * batch_.arg().kv_rows + batch_.entries[b].kv_row;
        std::copy_n((all_[b].*values).begin() + static_cast<std::ptrdiff_t>(h) * rows * size, rows * size,
                    result.begin() + to * size);
      }
    }
    return result;
  }
  std::vector<std::uint32_t> workspace_groups() const {
    std::vector<std::uint32_t> result(static_cast<std::size_t>(c_.kv_heads * batch_.arg().kv_rows / 8), poison);
    for (std::size_t b = 0; b < all_.size(); ++b) {
      const int words = all_[b].kv_padded() / 8;
      for (int h = 0; h < c_.kv_heads; ++h) {
        std::copy_n(all_[b].scales.begin() + static_cast<std::ptrdiff_t>(h) * words, words,
                    result.begin() + (h * batch_.arg().kv_rows + batch_.entries[b].kv_row) / 8);
      }
    }
    return result;
  }
  std::vector<float> workspace_rows() const {
    std::vector<float> result(static_cast<std::size_t>(heads * batch_.arg().q_rows),
                              std::numeric_limits<float>::quiet_NaN());
    for (std::size_t b = 0; b < all_.size(); ++b) {
      const int rows = all_[b].q_padded();
      for (int h = 0; h < heads; ++h) {
        std::copy_n(all_[b].thresholds.begin() + static_cast<std::ptrdiff_t>(h) * rows, rows,
                    result.begin() + h * batch_.arg().q_rows + batch_.entries[b].q_row);
      }
    }
    return result;
  }
  std::vector<std::uint32_t> gather_mask() const {
    std::vector<std::uint32_t> result(static_cast<std::size_t>(batch_.mask_rows * mask_words_), poison);
    for (std::size_t b = 0; b < all_.size(); ++b) {
      const int words = all_[b].q_blocks(c_.block_q) * mask_words_;
      for (int h = 0; h < heads; ++h) {
        const long long row = batch_.entries[b].mask_row + h * batch_.arg().mask_stride;
        std::copy_n(all_[b].mask.begin() + static_cast<std::ptrdiff_t>(h) * words, words,
                    result.begin() + row * mask_words_);
      }
    }
    return result;
  }
  template <class T>
  std::vector<T> joined(std::vector<T> SequenceData::*values) const {
    std::vector<T> result;
    for (const SequenceData &data : all_) {
      result.insert(result.end(), (data.*values).begin(), (data.*values).end());
    }
    return result;
  }

  void run_tails(KernelSpec spec, const DeviceBuffer &v, const DeviceBuffer &tails, const ::PagedArg &paged) const {
    spec.stage = Stage::tails;
    spec.head_dim = c_.v_width();
    spec.v_head_dim = 0;
    spec.tile = default_tile(spec);
    TailsArgs args{};
    args.v = v_place_.arg(v.as<void>());
    args.tails = tails.as<void>();
    args.num_kv_heads = c_.kv_heads;
    args.ragged = batch_.arg();
    args.paged = paged;
    Device::get().run(generate(spec), spec.entry_name().c_str(),
                      {static_cast<unsigned>(c_.kv_heads), static_cast<unsigned>(all_.size())},
                      static_cast<unsigned>(spec.threads()), static_cast<unsigned>(spec.shared_memory()), {&args});
  }

  const AttendRaggedCase &c_;
  const std::vector<SequenceData> &all_;
  int mask_words_;
  bool paged_;
  RaggedBatch batch_;
  std::vector<int> table_;
  int table_stride_ = 1;
  std::size_t pages_ = 1;
  Place q_place_;
  Place k_place_;
  Place v_place_;
  Place out_place_;
  std::unique_ptr<DeviceBuffer> out_;
  std::unique_ptr<DeviceBuffer> lse_;
};

} // namespace

std::ostream &operator<<(std::ostream &out, const AttendRaggedCase &c) { return out << c.name; }

void expect_plain_calls(const AttendRaggedCase &c) {
  int most = 1;
  for (const SequenceLengths &sequence : c.sequences) {
    most = std::max(most, sequence.kv_len);
  }
  const int mask_words = round_up((most + 31) / 32, 128) / 32;
  std::vector<SequenceData> all;
  std::vector<SequenceResult> results;
  for (const SequenceLengths &sequence : c.sequences) {
    all.push_back(random_data(c, sequence, mask_words, static_cast<unsigned>(all.size()) + 1));
    results.push_back(expected(c, all.back(), mask_words));
  }
  RaggedCall call(c, all, mask_words);
  call.run();
  call.expect_results(results);
}

} // namespace sale::test
