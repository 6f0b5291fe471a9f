// SPDX-License-Identifier: Apache-2.0
// libsale's kernels that read keys or values by themselves (mean, channels, quantize, amax, values) on ragged batches:
// every sequence gets the bits of its own plain call, however the batch is laid out.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/ragged_batch.hpp"
#include "tests/emulator/kernels/ragged_tensor.hpp"

#include "args/amax_args.cuh"
#include "args/channels_args.cuh"
#include "args/mean_args.cuh"
#include "args/quantize_args.cuh"
#include "args/values_args.cuh"
#include "generator/generate.hpp"

#include <algorithm>
#include <random>

namespace sale::test {
namespace {

constexpr int head_dim = 64;
constexpr int heads = 2; // of keys
constexpr int gqa = 2;
constexpr int max_len = 330;
constexpr std::uint8_t untouched = 0xff;
const std::vector<int> kv_lens = {0, 300, 33, 0, 128, 1, 0};
const std::vector<int> q_lens = {3, 40, 33, 0, 1, 0, 270};

using Bytes = std::vector<std::uint8_t>;

struct Case {
  const char *name;
  Placement placement;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

class RaggedKeys : public KernelTest, public ::testing::WithParamInterface<Case> {
protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped()) {
      make(kv_lens, q_lens, max_len);
    }
  }

  void make(const std::vector<int> &kv, const std::vector<int> &q, int longest) {
    const Placement &placement = GetParam().placement;
    const bool packed = placement.kind == Placement::Kind::packed;
    std::vector<SequenceLengths> lengths;
    for (std::size_t i = 0; i < kv.size(); ++i) {
      lengths.emplace_back();
      lengths.back().q_len = q[i];
      lengths.back().kv_len = kv[i];
    }
    BatchLayout layout;
    layout.num_q_heads = heads * gqa;
    layout.packed_q = packed;
    layout.packed_kv = packed;
    layout.max_q_len = longest;
    layout.max_kv_len = longest;
    layout.kbar_stride = packed ? 0 : heads * head_dim; // shared by all sequences, or not
    batch_ = std::make_unique<RaggedBatch>(lengths, layout);
    k_ = std::make_unique<RaggedTensor>(kv, heads, head_dim, longest, placement, 1);
    q_ = std::make_unique<RaggedTensor>(q, heads * gqa, head_dim, longest,
                                        packed ? placement : Placement{.kind = Placement::Kind::padded}, 2);
    kbar_ = normal(sequences() * heads, 3);
    qbar_ = normal(sequences() * heads * gqa, 4);
  }

  static std::unique_ptr<DeviceBuffer> normal(std::size_t rows, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> distribution;
    std::vector<float> values(rows * head_dim);
    std::generate(values.begin(), values.end(), [&] { return distribution(random); });
    return Device::get().upload(values);
  }

  std::size_t sequences() const { return batch_->entries.size(); }
  const float *kbar_of(std::size_t b) const { return kbar_->as<float>() + b * batch_->arg().kbar_stride; }
  std::size_t group_rows() const { return static_cast<std::size_t>(batch_->arg().kv_rows) / 32; }

  static KernelSpec spec_of(Stage stage, bool ragged, Estimator estimator = Estimator::fp8) {
    KernelSpec spec;
    spec.stage = stage;
    spec.arch = {9, 0, true};
    spec.head_dim = head_dim;
    spec.gqa = gqa;
    spec.estimator = estimator;
    spec.ragged = ragged;
    spec.page_rows = ragged ? GetParam().placement.page_rows() : 0;
    return spec;
  }

  template <class Args>
  static void run(KernelSpec spec, const Grid &grid, Args args) {
    spec.tile = default_tile(spec);
    Device::get().run(generate(spec), spec.entry_name().c_str(), grid, static_cast<unsigned>(spec.threads()),
                      static_cast<unsigned>(spec.shared_memory()), {&args});
  }

  template <class Args>
  void run_ragged(const KernelSpec &spec, unsigned x, unsigned y, unsigned z, Args args) const {
    args.ragged = batch_->arg();
    args.paged = k_->paged();
    run(spec, {x, y, z}, args);
  }

  void expect_means(bool of_queries) const;
  void expect_codes(const KernelSpec &like, int row_bytes, int scale_bytes) const;
  void expect_channels(bool chosen) const;

  std::unique_ptr<RaggedBatch> batch_;
  std::unique_ptr<RaggedTensor> k_, q_;
  std::unique_ptr<DeviceBuffer> kbar_, qbar_;
};

// Rows [first, first + count) of `bytes` each.
Bytes rows_of(const Bytes &from, std::size_t first, std::size_t count, std::size_t bytes) {
  const auto begin = from.begin() + static_cast<std::ptrdiff_t>(first * bytes);
  return {begin, begin + static_cast<std::ptrdiff_t>(count * bytes)};
}

void RaggedKeys::expect_means(bool of_queries) const {
  const Device &device = Device::get();
  const int all = of_queries ? heads * gqa : heads;
  const RaggedTensor &tensor = of_queries ? *q_ : *k_;
  const unsigned splits = 2; // of max_len
  const auto fill = [&](MeanArgs &args, const DeviceBuffer &mean, const DeviceBuffer &partial,
                        const DeviceBuffer &arrived) {
    args.mean = mean.as<float>();
    args.partial = partial.as<float>();
    args.arrived = arrived.as<unsigned>();
    args.heads = all;
  };
  const std::size_t rows = sequences() * all;
  const auto mean = device.allocate(rows * head_dim * 4);
  const auto partial = device.allocate(rows * splits * head_dim * 4);
  const auto arrived = device.upload(std::vector<unsigned>(rows, 0));
  MeanArgs args{};
  fill(args, *mean, *partial, *arrived);
  args.x = tensor.arg();
  args.len = max_len;
  args.splits = splits;
  args.tokens_per_split = 256;
  args.of_queries = of_queries ? 1 : 0;
  run_ragged(spec_of(Stage::mean, true), splits, static_cast<unsigned>(all), static_cast<unsigned>(sequences()), args);
  const Bytes got = mean->read<std::uint8_t>();
  for (std::size_t b = 0; b < sequences(); ++b) {
    const int len = of_queries ? batch_->entries[b].q_len : batch_->entries[b].kv_len;
    Bytes expected(static_cast<std::size_t>(all) * head_dim * 4, 0);
    if (len != 0) {
      const auto own_mean = device.allocate(expected.size());
      const auto own_partial = device.allocate(expected.size() * splits);
      const auto own_arrived = device.upload(std::vector<unsigned>(static_cast<std::size_t>(all), 0));
      MeanArgs own{};
      fill(own, *own_mean, *own_partial, *own_arrived);
      own.x = tensor.alone(b);
      own.len = len;
      own.splits = (len + 255) / 256;
      own.tokens_per_split = 256;
      run(spec_of(Stage::mean, false), {static_cast<unsigned>(own.splits), static_cast<unsigned>(all)}, own);
      expected = own_mean->read<std::uint8_t>();
    }
    EXPECT_EQ(rows_of(got, b * all, all, head_dim * 4), expected) << "sequence " << b;
  }
}

TEST_P(RaggedKeys, MeanKeysAreThoseOfPlainCallsAndZeroWhereThereIsNone) { expect_means(false); }

TEST_P(RaggedKeys, MeanQueriesAreThoseOfPlainCalls) { expect_means(true); }

void RaggedKeys::expect_codes(const KernelSpec &like, int row_bytes, int scale_bytes) const {
  const Device &device = Device::get();
  const bool int4 = like.estimator == Estimator::int4;
  const bool fp8 = like.estimator == Estimator::fp8;
  const bool gathered = like.basis == EstimateBasis::channels;
  const std::size_t rows = group_rows() * 32;
  const std::size_t bias_words = int4 ? rows * heads * gqa : 1;
  const auto codes = device.allocate(rows * heads * row_bytes);
  const auto scales = device.allocate(group_rows() * heads * scale_bytes);
  const auto bias = device.allocate(bias_words * 4);
  std::vector<int> chosen;
  for (std::size_t i = 0; i < sequences() * heads; ++i) {
    for (int c = 0; c < 32; ++c) {
      chosen.push_back(2 * c + static_cast<int>(i % 2));
    }
  }
  const auto channels = device.upload(chosen);
  const auto projection = normal(std::size_t{heads} * 2 * 32, 5);
  QuantizeArgs args{};
  args.k = k_->arg();
  args.kbar = kbar_->as<float>();
  args.qbar = qbar_->as<float>();
  args.codes = codes->as<unsigned char>();
  args.scales = scales->as<float>();
  args.bias = bias->as<float>();
  args.channels = channels->as<int>();
  args.channels_stride = heads * 32;
  args.projection = projection->as<float>();
  args.num_kv_heads = heads;
  args.kv_len = max_len;
  run_ragged(like, static_cast<unsigned>(group_rows()), heads, 1, args);
  const Bytes got = codes->read<std::uint8_t>();
  const Bytes got_scales = scales->read<std::uint8_t>();
  const Bytes got_bias = bias->read<std::uint8_t>();
  std::size_t written = 0;
  for (std::size_t b = 0; b < sequences(); ++b) {
    const ::SequenceEntry &entry = batch_->entries[b];
    if (entry.kv_len == 0) {
      continue;
    }
    const auto len = static_cast<std::size_t>(entry.kv_len);
    const std::size_t groups = (len + 31) / 32;
    const std::size_t scale_groups = fp8 ? (groups + 3) / 4 * 4 : groups;
    const auto own_codes = device.allocate((heads * len * row_bytes + 3) / 4 * 4);
    const auto own_scales = device.allocate(heads * scale_groups * scale_bytes);
    const auto own_bias = device.allocate(groups * 32 * heads * gqa * 4);
    QuantizeArgs own = args;
    own.k = k_->alone(b);
    own.kbar = kbar_of(b);
    own.qbar = args.qbar + b * heads * gqa * head_dim;
    own.codes = own_codes->as<unsigned char>();
    own.scales = own_scales->as<float>();
    own.bias = own_bias->as<float>();
    own.channels = gathered ? args.channels + b * heads * 32 : nullptr;
    own.kv_len = entry.kv_len;
    KernelSpec plain = like;
    plain.ragged = false;
    plain.page_rows = 0;
    run(plain, {static_cast<unsigned>(groups), heads}, own);
    const Bytes expected = own_codes->read<std::uint8_t>();
    const Bytes expected_scales = own_scales->read<std::uint8_t>();
    const Bytes expected_bias = own_bias->read<std::uint8_t>();
    for (std::size_t head = 0; head < heads; ++head) {
      const std::size_t row = head * rows + entry.kv_row;
      EXPECT_EQ(rows_of(got, row, len, row_bytes), rows_of(expected, head * len, len, row_bytes)) << "sequence " << b;
      EXPECT_EQ(rows_of(got_scales, row / 32, scale_groups, scale_bytes),
                rows_of(expected_scales, head * scale_groups, scale_groups, scale_bytes))
          << "sequence " << b;
      written += len;
    }
    for (std::size_t head = 0; int4 && head < heads * gqa; ++head) {
      EXPECT_EQ(rows_of(got_bias, head * rows + entry.kv_row, groups * 32, 4),
                rows_of(expected_bias, head * groups * 32, groups * 32, 4));
    }
  }
  std::size_t touched = 0;
  for (std::size_t row = 0; row < rows * heads; ++row) {
    const Bytes codes_of_row = rows_of(got, row, 1, row_bytes);
    touched += std::all_of(codes_of_row.begin(), codes_of_row.end(), [](auto x) { return x == untouched; }) ? 0 : 1;
  }
  EXPECT_EQ(touched, written);
}

TEST_P(RaggedKeys, Int8CodesAreThoseOfPlainCalls) {
  expect_codes(spec_of(Stage::quantize, true, Estimator::int8), head_dim, 4);
}

TEST_P(RaggedKeys, Int4CodesAndBiasesAreThoseOfPlainCalls) {
  const KernelSpec spec = spec_of(Stage::quantize, true, Estimator::int4);
  expect_codes(spec, spec.code_row_bytes(), 16);
}

TEST_P(RaggedKeys, Fp8CodesAreThoseOfPlainCalls) { expect_codes(spec_of(Stage::quantize, true), head_dim, 4); }

TEST_P(RaggedKeys, Fp8CodesOfChosenChannelsAreThoseOfPlainCalls) {
  KernelSpec spec = spec_of(Stage::quantize, true);
  spec.estimate_dim = 32;
  spec.basis = EstimateBasis::channels;
  expect_codes(spec, 32, 4);
}

TEST_P(RaggedKeys, Fp8CodesOfProjectedKeysAreThoseOfPlainCalls) {
  KernelSpec spec = spec_of(Stage::quantize, true);
  spec.estimate_dim = 32;
  spec.basis = EstimateBasis::projection;
  expect_codes(spec, 32, 4);
}

// The codes of a batch in pages, after keys [0, coded_lens) of each sequence were found there.
struct CodePages {
  Bytes codes;         // [pages, heads, page_size, head_dim]
  Bytes cached_scales; // [pages, heads, page_size / 32] words
  Bytes scales;        // of the workspace
};

class RaggedCodePages : public RaggedKeys {
protected:
  static constexpr std::size_t scale_bytes = 4;

  // Keys are those of `k`; `before`: what the pages have.
  CodePages run_on(const RaggedTensor &k, const std::vector<int> &coded_lens, const CodePages *before) const {
    const Device &device = Device::get();
    std::vector<::SequenceEntry> entries = batch_->entries;
    for (std::size_t b = 0; b < entries.size(); ++b) {
      entries[b].coded_len = coded_lens[b];
    }
    const auto sequences = device.upload(entries);
    const auto rows = static_cast<std::size_t>(k.paged().num_pages) * heads * k.paged().page_size;
    const auto codes = before != nullptr ? device.upload(before->codes) : device.allocate(rows * head_dim);
    const auto cached =
        before != nullptr ? device.upload(before->cached_scales) : device.allocate(rows / 32 * scale_bytes);
    const auto scales = device.allocate(group_rows() * heads * scale_bytes);
    QuantizeArgs args{};
    args.k = k.arg();
    args.kbar = kbar_->as<float>();
    args.scales = scales->as<float>();
    args.num_kv_heads = heads;
    args.kv_len = max_len;
    args.ragged = batch_->arg();
    args.ragged.sequences = sequences->as<const ::SequenceEntry>();
    args.paged = k.paged();
    args.paged.codes = codes->as<unsigned char>();
    args.paged.scales = cached->as<unsigned>();
    KernelSpec spec = spec_of(Stage::quantize, true, estimator());
    spec.coded_pages = true;
    run(spec, {static_cast<unsigned>(group_rows()), heads}, args);
    return {codes->read<std::uint8_t>(), cached->read<std::uint8_t>(), scales->read<std::uint8_t>()};
  }

  // Of a key, where rows have a code of every channel.
  std::size_t row_in_pages(std::size_t b, int key, int head) const {
    const auto size = static_cast<std::size_t>(k_->paged().page_size);
    return (static_cast<std::size_t>(k_->page_of(b, key)) * heads + static_cast<std::size_t>(head)) * size +
           static_cast<std::size_t>(key) % size;
  }

  static Estimator estimator() { return GetParam().name[0] == 'i' ? Estimator::int8 : Estimator::fp8; }
};

TEST_P(RaggedCodePages, HaveTheCodesOfPlainCallsAndKeepThoseOfWholeGroupsThatAreThere) {
  const CodePages first = run_on(*k_, {0, 0, 0, 0, 0, 0, 0}, nullptr);
  // Other keys: what is found in pages shows.
  const RaggedTensor others(kv_lens, heads, head_dim, max_len, GetParam().placement, 9);
  const CodePages fresh = run_on(others, {0, 0, 0, 0, 0, 0, 0}, nullptr);
  const std::vector<int> coded_lens = {0, 95, 32, 0, 128, 1, 0};
  const CodePages second = run_on(others, coded_lens, &first);
  std::size_t found = 0;
  for (std::size_t b = 0; b < sequences(); ++b) {
    const ::SequenceEntry &entry = batch_->entries[b];
    if (entry.kv_len == 0) {
      continue;
    }
    const Device &device = Device::get();
    const auto len = static_cast<std::size_t>(entry.kv_len);
    const std::size_t groups = (len + 31) / 32;
    const auto own_codes = device.allocate(heads * len * head_dim);
    const auto own_scales = device.allocate(heads * (groups + 3) / 4 * 4 * 4 + 32);
    QuantizeArgs own{};
    own.k = k_->alone(b);
    own.kbar = kbar_of(b);
    own.codes = own_codes->as<unsigned char>();
    own.scales = own_scales->as<float>();
    own.num_kv_heads = heads;
    own.kv_len = entry.kv_len;
    run(spec_of(Stage::quantize, false, estimator()), {static_cast<unsigned>(groups), heads}, own);
    const Bytes expected = own_codes->read<std::uint8_t>();
    for (int head = 0; head < heads; ++head) {
      for (int key = 0; key < entry.kv_len; ++key) {
        const std::size_t row = row_in_pages(b, key, head);
        const std::size_t group = (static_cast<std::size_t>(head) * batch_->arg().kv_rows + entry.kv_row + key) / 32;
        ASSERT_EQ(rows_of(first.codes, row, 1, head_dim), rows_of(expected, head * len + key, 1, head_dim));
        ASSERT_EQ(rows_of(first.cached_scales, row / 32, 1, 4), rows_of(first.scales, group, 1, 4));
        const bool there = (key / 32 + 1) * 32 <= coded_lens[b];
        const CodePages &source = there ? first : fresh;
        ASSERT_EQ(rows_of(second.codes, row, 1, head_dim), rows_of(source.codes, row, 1, head_dim)) << b << " " << key;
        ASSERT_EQ(rows_of(second.cached_scales, row / 32, 1, 4), rows_of(source.cached_scales, row / 32, 1, 4));
        ASSERT_EQ(rows_of(second.scales, group, 1, 4), rows_of(source.scales, group, 1, 4)) << b << " " << key;
        found += there ? 1 : 0;
      }
    }
  }
  EXPECT_EQ(found, heads * (64U + 32U + 128U));
  const std::size_t written = [&] {
    std::size_t rows = 0;
    for (std::size_t row = 0; row < first.codes.size() / head_dim; ++row) {
      const Bytes codes = rows_of(second.codes, row, 1, head_dim);
      rows += std::all_of(codes.begin(), codes.end(), [](auto x) { return x == untouched; }) ? 0U : 1U;
    }
    return rows;
  }();
  EXPECT_EQ(written, heads * (300U + 33U + 128U + 1U)) << "pages of nobody";
}

INSTANTIATE_TEST_SUITE_P(Cases, RaggedCodePages,
                         ::testing::Values(Case{"int8_pages_of_32", {.kind = Placement::Kind::paged, .page_size = 32}},
                                           Case{"fp8_pages_of_96", {.kind = Placement::Kind::paged, .page_size = 96}}));

// chosen: the channels that estimate, else only what pruned queries are weighed with.
void RaggedKeys::expect_channels(bool chosen) const {
  const Device &device = Device::get();
  KernelSpec spec = spec_of(Stage::channels, true);
  spec.estimate_dim = chosen ? 32 : 0;
  spec.basis = chosen ? EstimateBasis::channels : EstimateBasis::all;
  spec.prune_queries = !chosen;
  const int width = spec.estimate_width();
  const std::size_t rows = sequences() * heads;
  const unsigned splits = 3; // of the batch's longest
  const auto partial = device.allocate(rows * splits * 2 * head_dim * 4);
  const auto arrived = device.upload(std::vector<unsigned>(rows, 0));
  const auto channels = device.allocate(rows * width * 4);
  const auto weights = device.allocate(rows * width * 4);
  ChannelsArgs args{};
  args.q = q_->arg();
  args.k = k_->arg();
  args.kbar = kbar_->as<float>();
  args.partial = partial->as<float>();
  args.arrived = arrived->as<unsigned>();
  args.channels = chosen ? channels->as<int>() : nullptr;
  args.weights = chosen ? nullptr : weights->as<float>();
  args.num_q_heads = heads * gqa;
  args.num_kv_heads = heads;
  args.q_len = batch_->max_q_len;
  args.kv_len = batch_->max_kv_len;
  args.splits = static_cast<int>(splits);
  run_ragged(spec, splits, heads, static_cast<unsigned>(sequences()), args);
  const Bytes got = weights->read<std::uint8_t>();
  const Bytes got_channels = channels->read<std::uint8_t>();
  spec.ragged = false;
  spec.page_rows = 0;
  for (std::size_t b = 0; b < sequences(); ++b) {
    const ::SequenceEntry &entry = batch_->entries[b];
    if (entry.kv_len == 0 || entry.q_len == 0) {
      continue;
    }
    const auto own_arrived = device.upload(std::vector<unsigned>(heads, 0));
    const auto own_weights = device.allocate(std::size_t{heads} * width * 4);
    const auto own_channels = device.allocate(std::size_t{heads} * width * 4);
    ChannelsArgs own = args;
    own.q = q_->alone(b);
    own.k = k_->alone(b);
    own.kbar = kbar_of(b);
    own.arrived = own_arrived->as<unsigned>();
    own.channels = chosen ? own_channels->as<int>() : nullptr;
    own.weights = chosen ? nullptr : own_weights->as<float>();
    own.q_len = entry.q_len;
    own.kv_len = entry.kv_len;
    own.splits = std::max(1, entry.kv_len / 2048);
    run(spec, {static_cast<unsigned>(own.splits), heads}, own);
    // Those that are not wanted are poison in both.
    EXPECT_EQ(rows_of(got, b * heads, heads, width * 4), own_weights->read<std::uint8_t>()) << "sequence " << b;
    EXPECT_EQ(rows_of(got_channels, b * heads, heads, width * 4), own_channels->read<std::uint8_t>())
        << "sequence " << b;
  }
}

TEST_P(RaggedKeys, ChosenChannelsAreThoseOfPlainCalls) { expect_channels(true); }

TEST_P(RaggedKeys, WeightsOfAllChannelsAreThoseOfPlainCallsInSequencesOfManySplits) {
  make({40, 6200, 0, 4100}, {9, 20, 3, 4}, 6200);
  expect_channels(false);
}

TEST_P(RaggedKeys, ValuesAndTheirScalesAreThoseOfPlainCalls) {
  const Device &device = Device::get();
  const std::size_t groups = group_rows();
  const auto amax = device.upload(std::vector<unsigned>(sequences() * heads, 0));
  AmaxArgs largest{};
  largest.x = k_->arg();
  largest.amax = amax->as<unsigned>();
  largest.heads = heads;
  largest.len = max_len;
  largest.tokens_per_split = 100;
  run_ragged(spec_of(Stage::amax, true), (max_len + 99) / 100, heads, static_cast<unsigned>(sequences()), largest);
  const auto k_scales = device.upload(std::vector<unsigned>(groups * heads, 0x44004400U)); // 4, as an f16 pair
  const auto codes = device.allocate(groups * heads * head_dim * 32);
  const auto scales = device.allocate(groups * heads * 16);
  ValuesArgs args{};
  args.v = k_->arg();
  args.k_scales = k_scales->as<unsigned>();
  args.amax = amax->as<unsigned>();
  args.codes = codes->as<unsigned char>();
  args.scales = scales->as<unsigned>();
  args.num_kv_heads = heads;
  args.kv_len = max_len;
  run_ragged(spec_of(Stage::values, true), static_cast<unsigned>(groups), heads, 1, args);
  const std::vector<unsigned> got_amax = amax->read<unsigned>();
  const Bytes got = codes->read<std::uint8_t>();
  const Bytes got_scales = scales->read<std::uint8_t>();
  for (std::size_t b = 0; b < sequences(); ++b) {
    const ::SequenceEntry &entry = batch_->entries[b];
    if (entry.kv_len == 0) {
      EXPECT_EQ(got_amax[b * heads], 0U);
      continue;
    }
    const std::size_t blocks = (static_cast<std::size_t>(entry.kv_len) + 127) / 128 * 4;
    const auto own_amax = device.upload(std::vector<unsigned>(heads, 0));
    AmaxArgs own_largest = largest;
    own_largest.x = k_->alone(b);
    own_largest.amax = own_amax->as<unsigned>();
    own_largest.len = entry.kv_len;
    run(spec_of(Stage::amax, false), {static_cast<unsigned>(entry.kv_len + 99) / 100, heads}, own_largest);
    EXPECT_TRUE(std::equal(got_amax.begin() + static_cast<std::ptrdiff_t>(b * heads),
                           got_amax.begin() + static_cast<std::ptrdiff_t>((b + 1) * heads),
                           own_amax->read<unsigned>().begin()));
    const auto own_codes = device.allocate(blocks * heads * head_dim * 32);
    const auto own_scales = device.allocate(blocks * heads * 16);
    ValuesArgs own = args;
    own.v = k_->alone(b);
    own.amax = own_amax->as<unsigned>();
    own.codes = own_codes->as<unsigned char>();
    own.scales = own_scales->as<unsigned>();
    own.kv_len = entry.kv_len;
    run(spec_of(Stage::values, false), {static_cast<unsigned>(blocks), heads}, own);
    const Bytes expected = own_codes->read<std::uint8_t>();
    const Bytes expected_scales = own_scales->read<std::uint8_t>();
    for (std::size_t head = 0; head < heads; ++head) {
      const std::size_t first = head * groups + entry.kv_row / 32;
      EXPECT_EQ(rows_of(got, first, blocks, head_dim * 32), rows_of(expected, head * blocks, blocks, head_dim * 32));
      EXPECT_EQ(rows_of(got_scales, first, blocks, 16), rows_of(expected_scales, head * blocks, blocks, 16));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, RaggedKeys,
    ::testing::Values(Case{"packed", {.kind = Placement::Kind::packed}},
                      Case{"padded", {.kind = Placement::Kind::padded}},
                      Case{"pages_of_32", {.kind = Placement::Kind::paged, .page_size = 32}},
                      Case{"pages_of_48_heads_inside",
                           {.kind = Placement::Kind::paged, .page_size = 48, .heads_inside = true}}));

} // namespace
} // namespace sale::test
