// SPDX-License-Identifier: Apache-2.0
// libsale's quantize kernel on ragged batches: every sequence gets the bits of its own plain call, however the batch is
// laid out; and codes that stay in pages.
#include "tests/emulator/kernels/ragged_keys_case.hpp"

#include "args/quantize_args.cuh"

namespace sale::test {
namespace {

class RaggedCodes : public RaggedKeysTest {
protected:
  void expect_codes(const KernelSpec &like, int row_bytes, int scale_bytes) const;
};

void RaggedCodes::expect_codes(const KernelSpec &like, int row_bytes, int scale_bytes) const {
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

TEST_P(RaggedCodes, Int8CodesAreThoseOfPlainCalls) {
  expect_codes(spec_of(Stage::quantize, true, Estimator::int8), head_dim, 4);
}

TEST_P(RaggedCodes, Int4CodesAndBiasesAreThoseOfPlainCalls) {
  const KernelSpec spec = spec_of(Stage::quantize, true, Estimator::int4);
  expect_codes(spec, spec.code_row_bytes(), 16);
}

TEST_P(RaggedCodes, Fp8CodesAreThoseOfPlainCalls) { expect_codes(spec_of(Stage::quantize, true), head_dim, 4); }

TEST_P(RaggedCodes, Fp8CodesOfChosenChannelsAreThoseOfPlainCalls) {
  KernelSpec spec = spec_of(Stage::quantize, true);
  spec.estimate_dim = 32;
  spec.basis = EstimateBasis::channels;
  expect_codes(spec, 32, 4);
}

TEST_P(RaggedCodes, Fp8CodesOfProjectedKeysAreThoseOfPlainCalls) {
  KernelSpec spec = spec_of(Stage::quantize, true);
  spec.estimate_dim = 32;
  spec.basis = EstimateBasis::projection;
  expect_codes(spec, 32, 4);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, RaggedCodes,
    ::testing::Values(RaggedKeysCase{"packed", {.kind = Placement::Kind::packed}},
                      RaggedKeysCase{"padded", {.kind = Placement::Kind::padded}},
                      RaggedKeysCase{"pages_of_32", {.kind = Placement::Kind::paged, .page_size = 32}},
                      RaggedKeysCase{"pages_of_48_heads_inside",
                                     {.kind = Placement::Kind::paged, .page_size = 48, .heads_inside = true}}));

// The codes of a batch in pages, after keys [0, coded_lens) of each sequence were found there.
struct CodePages {
  Bytes codes;         // [pages, heads, page_size, head_dim]
  Bytes cached_scales; // [pages, heads, page_size / 32] words
  Bytes scales;        // of the workspace
};

class RaggedCodePages : public RaggedKeysTest {
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

INSTANTIATE_TEST_SUITE_P(
    Cases, RaggedCodePages,
    ::testing::Values(RaggedKeysCase{"int8_pages_of_32", {.kind = Placement::Kind::paged, .page_size = 32}},
                      RaggedKeysCase{"fp8_pages_of_96", {.kind = Placement::Kind::paged, .page_size = 96}}));

} // namespace
} // namespace sale::test
