// SPDX-License-Identifier: Apache-2.0
// libsale's prepare and mma.sync attend of ragged and paged batches: every sequence as its own plain call gives it.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/plain_attention.hpp"
#include "tests/emulator/kernels/ragged_batch.hpp"

#include "args/attend_args.cuh"
#include "args/prepare_args.cuh"
#include "generator/generate.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

namespace sale::test {
namespace {

constexpr int q_heads = 2;
constexpr float scale = 0.125F;
constexpr std::uint16_t nan_bf16 = 0x7fc0;

struct Case {
  const char *name;
  std::vector<SequenceLengths> sequences;
  bool packed = true;
  int page_size = 0; ///< 0 = not paged.
  int kv_heads = 1;
  int head_dim = 64;
  int block_q = 64;
  int block_k = 32;
  bool causal = true;
  int sliding_window = 0;
  Estimator estimator = Estimator::int8;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

using Values = std::vector<std::uint16_t>; // [heads, len, head_dim]
using Words = std::vector<std::uint32_t>;

std::size_t size(long long n) { return static_cast<std::size_t>(n); }
int ceil_div(int value, int divisor) { return (value + divisor - 1) / divisor; }

struct OneSequence {
  Values q, k, v;
  Words mask;              ///< [q_heads, q_blocks, mask_words]
  std::vector<float> kbar; ///< [head_dim]
};

/// A tensor on the device: NaN where no row of a sequence lies.
struct Placed {
  TensorArg arg;
  std::unique_ptr<DeviceBuffer> buffer;
  std::vector<std::function<std::size_t(int head, int row)>> element; ///< Of each sequence.
  Values values;
};

class MmaRagged : public KernelTest, public ::testing::WithParamInterface<Case> {
protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    const Case &c = GetParam();
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    const auto draw = [&](int heads, int len) {
      Values values(size(heads) * size(len) * size(c.head_dim));
      std::generate(values.begin(), values.end(), [&] { return to_bf16(normal(random)); });
      return values;
    };
    BatchLayout layout;
    layout.num_q_heads = q_heads;
    layout.block_q = c.block_q;
    layout.packed_q = c.packed;
    layout.packed_kv = c.packed && c.page_size == 0;
    layout.causal = c.causal;
    layout.kbar_stride = c.kv_heads * c.head_dim;
    batch = std::make_unique<RaggedBatch>(c.sequences, layout);
    for (const SequenceLengths &lengths : c.sequences) {
      OneSequence one;
      one.q = draw(q_heads, lengths.q_len);
      one.k = draw(c.kv_heads, lengths.kv_len);
      one.v = draw(c.kv_heads, lengths.kv_len);
      one.mask.resize(size(q_heads) * size(ceil_div(lengths.q_len, c.block_q)) * size(words_of(lengths.kv_len)));
      const int blocks = ceil_div(lengths.kv_len, c.block_k);
      for (std::size_t i = 0; i < one.mask.size(); ++i) {
        const int first = static_cast<int>(i) % words_of(lengths.kv_len) * 32;
        const auto bits = static_cast<std::uint32_t>(random());
        one.mask[i] = first >= blocks ? 0 : (blocks - first >= 32 ? bits : bits & ((1U << (blocks - first)) - 1U));
      }
      one.kbar.resize(size(c.kv_heads * c.head_dim));
      std::generate(one.kbar.begin(), one.kbar.end(), [&] { return 0.1F * normal(random); });
      sequences.push_back(std::move(one));
    }
  }

  int count() const { return static_cast<int>(sequences.size()); }
  int words_of(int kv_len) const { return ceil_div(kv_len, 128 * GetParam().block_k) * 4; }

  // Packed or padded; of queries or of keys.
  Placed place(int heads, bool queries) const {
    const int len = queries ? batch->total_q : batch->total_kv;
    const long long row = GetParam().head_dim;
    Placed placed;
    placed.arg = {nullptr, heads * len * row, len * row, row};
    for (int b = 0; b < count(); ++b) {
      const ::SequenceEntry &entry = batch->entries[size(b)];
      const int start = queries ? entry.q_start : entry.kv_start;
      const long long base = (queries ? batch->arg().q_batch : batch->arg().kv_batch) * b * placed.arg.stride_batch;
      placed.element.emplace_back([=](int head, int i) { return size(base + head * len * row + (start + i) * row); });
    }
    const long long tensors = (queries ? batch->arg().q_batch : batch->arg().kv_batch) != 0 ? count() : 1;
    placed.values.assign(size(tensors * heads * len * row), nan_bf16);
    return placed;
  }

  // K or V in pages of shuffled numbers; entries of the table past the last key are -1.
  Placed place_in_pages() {
    const Case &c = GetParam();
    const int most = ceil_div(batch->max_kv_len, c.page_size);
    std::vector<int> pages(size(count()) * size(most + 1));
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(5));
    const long long row = c.head_dim;
    Placed placed;
    constexpr long long gap = 8; // between pages, as if something else lay there
    const long long page_stride = c.page_size * c.kv_heads * row + gap;
    placed.arg = {nullptr, page_stride, row, c.kv_heads * row}; // heads side by side
    table.assign(size(count()) * size(most + 1), -1);
    for (int b = 0; b < count(); ++b) {
      for (int page = 0; page * c.page_size < c.sequences[size(b)].kv_len; ++page) {
        table[size(b) * size(most + 1) + size(page)] = pages[size(b) * size(most) + size(page)];
      }
      const int *own = table.data() + size(b) * size(most + 1);
      placed.element.emplace_back([=, page_size = c.page_size, token = placed.arg.stride_token](int head, int i) {
        return size(own[i / page_size] * page_stride + i % page_size * token + head * row);
      });
    }
    placed.values.assign(size(static_cast<long long>(pages.size()) * page_stride), nan_bf16);
    return placed;
  }

  void fill(Placed &placed, int heads, Values OneSequence::*of) const {
    const int d = GetParam().head_dim;
    for (int b = 0; b < count(); ++b) {
      const Values &from = sequences[size(b)].*of;
      const int len = static_cast<int>(from.size() / size(heads * d));
      for (int head = 0; head < heads; ++head) {
        for (int i = 0; i < len; ++i) {
          std::copy_n(from.begin() + (head * len + i) * d, d,
                      placed.values.begin() + static_cast<std::ptrdiff_t>(placed.element[size(b)](head, i)));
        }
      }
    }
    upload(placed);
  }

  static void upload(Placed &placed) {
    placed.buffer = Device::get().upload(placed.values);
    placed.arg.data = placed.buffer->as<void>();
  }

  KernelSpec spec_of(Stage stage, bool ragged) const {
    const Case &c = GetParam();
    KernelSpec spec;
    spec.stage = stage;
    spec.arch = {8, 0};
    spec.head_dim = c.head_dim;
    spec.gqa = q_heads / c.kv_heads;
    spec.estimator = c.estimator;
    spec.block_q = c.block_q;
    spec.block_k = c.block_k;
    spec.causal = c.causal;
    spec.sliding = c.sliding_window != 0;
    spec.ragged = ragged;
    if (ragged && c.page_size != 0) {
      spec.page_rows = c.page_size % 32 == 0 ? 32 : 16;
    }
    return spec;
  }

  template <class Args>
  void set_common(Args &args, const SequenceLengths *one) const {
    args.num_q_heads = q_heads;
    args.q_len = one != nullptr ? one->q_len : batch->max_q_len;
    args.kv_len = one != nullptr ? one->kv_len : batch->max_kv_len;
    args.softmax_scale = scale;
    args.sliding_window = GetParam().sliding_window;
    if (one == nullptr) {
      args.ragged = batch->arg();
    }
  }

  template <class Args>
  void set_pages(Args &args) {
    const Case &c = GetParam();
    if (c.page_size != 0) {
      device_table = Device::get().upload(table);
      args.paged.table = device_table->as<int>();
      args.paged.table_stride = ceil_div(batch->max_kv_len, c.page_size) + 1;
      args.paged.page_size = c.page_size;
    }
  }

  TensorArg plain_arg(const DeviceBuffer &buffer, int len) const {
    const long long d = GetParam().head_dim;
    return {buffer.as<void>(), q_heads * len * d, len * d, d};
  }

  unsigned row_tiles(int rows) const { return static_cast<unsigned>(batch->arg().slots * 512 / rows); }

  static void run(const KernelSpec &spec, const Grid &grid, void *args) {
    Device::get().run(generate(spec), spec.entry_name().c_str(), grid, static_cast<unsigned>(spec.threads()),
                      static_cast<unsigned>(spec.shared_memory()), {args});
  }

  void compare_attend(bool dense);
  void compare_prepare();

  std::vector<OneSequence> sequences;
  std::unique_ptr<RaggedBatch> batch;
  std::vector<int> table;
  std::unique_ptr<DeviceBuffer> device_table;
};

// Mask rows of all sequences in one array of the capacity's words; those of nobody, and words behind a sequence's
// last, are all ones.
Words gather_masks(const std::vector<OneSequence> &sequences, const std::vector<SequenceLengths> &lengths,
                   const RaggedBatch &batch, int block_q, int block_k) {
  const int words = ceil_div(batch.max_kv_len, 128 * block_k) * 4;
  Words mask(size(batch.mask_rows) * size(words), ~0U);
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    const int own_words = ceil_div(lengths[b].kv_len, 128 * block_k) * 4;
    const int q_blocks = ceil_div(lengths[b].q_len, block_q);
    for (int head = 0; head < q_heads; ++head) {
      for (int m = 0; m < q_blocks; ++m) {
        const long long row = batch.entries[b].mask_row + head * batch.arg().mask_stride + m;
        std::copy_n(sequences[b].mask.begin() + (head * q_blocks + m) * own_words, own_words,
                    mask.begin() + row * words);
      }
    }
  }
  return mask;
}

void MmaRagged::compare_attend(bool dense) {
  const Case &c = GetParam();
  Device &device = Device::get();
  KernelSpec spec = spec_of(Stage::attend, true);
  spec.dense = dense;
  spec.tile = default_tile(spec);
  Placed q = place(q_heads, true);
  fill(q, q_heads, &OneSequence::q);
  Placed k = c.page_size != 0 ? place_in_pages() : place(c.kv_heads, false);
  fill(k, c.kv_heads, &OneSequence::k);
  Placed v = c.page_size != 0 ? place_in_pages() : place(c.kv_heads, false);
  fill(v, c.kv_heads, &OneSequence::v);
  Placed out = place(q_heads, true);
  upload(out);
  const auto lse = device.upload(std::vector<float>(size(batch->lse_rows), -7.0F));
  const auto mask = device.upload(gather_masks(sequences, c.sequences, *batch, c.block_q, c.block_k));
  AttendArgs args{};
  set_common(args, nullptr);
  set_pages(args);
  args.q = q.arg;
  args.k = k.arg;
  args.v = v.arg;
  args.out = out.arg;
  args.lse = lse->as<float>();
  args.mask = mask->as<unsigned>();
  args.mask_words = words_of(batch->max_kv_len);
  run(spec, {row_tiles(spec.tile.rows()), q_heads}, &args);

  Values expected_out = out.values;
  std::vector<float> expected_lse(size(batch->lse_rows), -7.0F);
  for (int b = 0; b < count(); ++b) {
    const SequenceLengths &lengths = c.sequences[size(b)];
    const OneSequence &one = sequences[size(b)];
    if (lengths.q_len == 0) {
      continue;
    }
    std::vector<std::uint16_t> own_out(one.q.size(), 0);
    std::vector<float> own_lse(size(q_heads) * size(lengths.q_len), -std::numeric_limits<float>::infinity());
    if (lengths.kv_len != 0) { // where no plain call exists
      KernelSpec plain = spec_of(Stage::attend, false);
      plain.dense = dense;
      plain.tile = spec.tile;
      const auto q1 = device.upload(one.q);
      const auto k1 = device.upload(one.k);
      const auto v1 = device.upload(one.v);
      const auto mask1 = device.upload(one.mask);
      const auto out1 = device.allocate(one.q.size() * 2);
      const auto lse1 = device.allocate(own_lse.size() * 4);
      AttendArgs single{};
      set_common(single, &lengths);
      single.q = plain_arg(*q1, lengths.q_len);
      single.k = plain_arg(*k1, lengths.kv_len);
      single.v = plain_arg(*v1, lengths.kv_len);
      single.out = plain_arg(*out1, lengths.q_len);
      single.lse = lse1->as<float>();
      single.mask = mask1->as<unsigned>();
      single.mask_words = words_of(lengths.kv_len);
      run(plain, {static_cast<unsigned>(ceil_div(lengths.q_len, spec.tile.rows())), q_heads}, &single);
      own_out = out1->read<std::uint16_t>();
      own_lse = lse1->read<float>();
    }
    for (int head = 0; head < q_heads; ++head) {
      for (int i = 0; i < lengths.q_len; ++i) {
        const int row = head * lengths.q_len + i;
        std::copy_n(own_out.begin() + row * c.head_dim, c.head_dim,
                    expected_out.begin() + static_cast<std::ptrdiff_t>(out.element[size(b)](head, i)));
        expected_lse[size(batch->entries[size(b)].lse_row + head * batch->arg().lse_stride + i)] = own_lse[size(row)];
      }
    }
  }
  EXPECT_EQ(out.buffer->read<std::uint16_t>(), expected_out);
  EXPECT_EQ(lse->read<float>(), expected_lse);
}

void MmaRagged::compare_prepare() {
  const Case &c = GetParam();
  Device &device = Device::get();
  KernelSpec spec = spec_of(Stage::prepare, true);
  spec.tile = default_tile(spec);
  const int row_bytes = spec.code_row_bytes();
  const int heads_at_once = spec.tile.rows() / c.block_q;
  const auto groups = static_cast<unsigned>(c.kv_heads * ceil_div(q_heads / c.kv_heads, heads_at_once));
  Placed q = place(q_heads, true);
  fill(q, q_heads, &OneSequence::q);
  Placed k = c.page_size != 0 ? place_in_pages() : place(c.kv_heads, false);
  fill(k, c.kv_heads, &OneSequence::k);
  const auto tau = device.upload(std::vector<float>(q_heads, 0.03F));
  const auto no_tau = device.upload(std::vector<float>(q_heads, 0.0F));
  const auto shift = device.upload(std::vector<float>(q_heads, 0.5F));
  std::vector<float> means;
  for (const OneSequence &one : sequences) {
    means.insert(means.end(), one.kbar.begin(), one.kbar.end());
  }
  const auto kbar = device.upload(means);

  struct Prepared {
    std::unique_ptr<DeviceBuffer> threshold, theta, scale, codes;
  };
  const auto prepare = [&](const KernelSpec &kernel, PrepareArgs &args, std::size_t rows, const Grid &grid,
                           const DeviceBuffer &taus) {
    Prepared result{device.upload(std::vector<float>(rows, -7.0F)), device.upload(std::vector<float>(rows, -7.0F)),
                    device.upload(std::vector<float>(rows, -7.0F)),
                    device.upload(std::vector<std::uint8_t>(std::max<std::size_t>(1, rows * size(row_bytes)), 0x55))};
    args.tau = taus.as<float>();
    args.shift = shift->as<float>();
    args.threshold = result.threshold->as<float>();
    args.theta = result.theta->as<float>();
    args.q_scale = result.scale->as<float>();
    args.q_codes = result.codes->as<unsigned char>();
    args.sink = 40;
    args.window = 50;
    run(kernel, grid, &args);
    return result;
  };
  const auto rows = size(batch->arg().q_rows) * q_heads;
  PrepareArgs args{};
  set_common(args, nullptr);
  set_pages(args);
  args.q = q.arg;
  args.k = k.arg;
  args.kbar = kbar->as<float>();
  const Prepared got = prepare(spec, args, rows, {row_tiles(c.block_q), groups}, *tau);

  std::vector<float> threshold(rows, -7.0F);
  std::vector<float> theta = threshold;
  std::vector<float> scales = threshold;
  std::vector<std::uint8_t> codes(std::max<std::size_t>(1, rows * size(row_bytes)), 0x55);
  const std::vector<float> got_threshold = got.threshold->read<float>();
  for (int b = 0; b < count(); ++b) {
    const SequenceLengths &lengths = c.sequences[size(b)];
    const OneSequence &one = sequences[size(b)];
    const ::SequenceEntry &entry = batch->entries[size(b)];
    if (lengths.q_len == 0) {
      continue;
    }
    const int padded = ceil_div(lengths.q_len, 128) * 128;
    KernelSpec plain = spec_of(Stage::prepare, false);
    plain.tile = spec.tile;
    const auto q1 = device.upload(one.q);
    // A call needs a key: that of none gives T as tau 0 does.
    const auto k1 = device.upload(lengths.kv_len == 0 ? Values(size(c.kv_heads * c.head_dim), 0) : one.k);
    const auto kbar1 = device.upload(one.kbar);
    PrepareArgs single{};
    set_common(single, &lengths);
    single.kv_len = std::max(lengths.kv_len, 1);
    single.q = plain_arg(*q1, lengths.q_len);
    single.k = plain_arg(*k1, single.kv_len);
    single.kbar = kbar1->as<float>();
    const Prepared own = prepare(plain, single, size(q_heads) * size(padded),
                                 {static_cast<unsigned>(ceil_div(lengths.q_len, c.block_q)), groups},
                                 lengths.kv_len == 0 ? *no_tau : *tau);
    for (int head = 0; head < q_heads; ++head) {
      const long long from = static_cast<long long>(head) * padded;
      const long long to = static_cast<long long>(head) * batch->arg().q_rows + entry.q_row;
      const auto copy = [&](const std::unique_ptr<DeviceBuffer> &buffer, std::vector<float> &into) {
        const std::vector<float> values = buffer->read<float>();
        std::copy_n(values.begin() + from, padded, into.begin() + to);
      };
      copy(own.threshold, threshold);
      copy(own.theta, theta);
      copy(own.scale, scales);
      const std::vector<std::uint8_t> bytes = own.codes->read<std::uint8_t>();
      std::copy_n(bytes.begin() + from * row_bytes, padded * row_bytes, codes.begin() + to * row_bytes);
    }
  }
  EXPECT_EQ(got_threshold, threshold);
  EXPECT_EQ(got.theta->read<float>(), theta);
  EXPECT_EQ(got.scale->read<float>(), scales);
  EXPECT_EQ(got.codes->read<std::uint8_t>(), codes);
}

TEST_P(MmaRagged, AttendToKeptBlocksAsPlainCallsOfEachSequence) { compare_attend(false); }
TEST_P(MmaRagged, AttendToAllKeysAsPlainCallsOfEachSequence) { compare_attend(true); }
TEST_P(MmaRagged, PrepareEachSequenceAsItsPlainCall) { compare_prepare(); }

const std::vector<SequenceLengths> usual = {{0, 70}, {65, 65}, {1, 130}, {40, 200}, {0, 0}, {128, 129}, {0, 3}};

const auto cases =
    ::testing::Values(Case{.name = "packed", .sequences = usual},
                      Case{.name = "padded_sliding",
                           .sequences = {{0, 0}, {64, 64}, {33, 161}, {5, 5}, {0, 40}},
                           .packed = false,
                           .block_q = 128,
                           .sliding_window = 50},
                      Case{.name = "packed_large_blocks_more_than_a_unit",
                           .sequences = {{20, 90}, {530, 530}},
                           .kv_heads = 2,
                           .block_q = 128,
                           .block_k = 128,
                           .estimator = Estimator::exact},
                      Case{.name = "pages_of_64", .sequences = usual, .page_size = 64},
                      Case{.name = "pages_of_48_heads_side_by_side",
                           .sequences = {{70, 200}, {1, 47}, {3, 48}, {0, 0}, {2, 49}},
                           .packed = false,
                           .page_size = 48,
                           .kv_heads = 2,
                           .head_dim = 128,
                           .block_k = 64},
                      Case{.name = "pages_of_32_in_large_blocks",
                           .sequences = {{130, 300}, {9, 31}},
                           .page_size = 32,
                           .head_dim = 96,
                           .block_q = 128,
                           .block_k = 128},
                      Case{.name = "both_sides_no_keys", .sequences = {{64, 64}, {70, 0}, {90, 30}}, .causal = false});
std::string name_of(const ::testing::TestParamInfo<Case> &info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Cases, MmaRagged, cases, name_of);

} // namespace
} // namespace sale::test
