// SPDX-License-Identifier: Apache-2.0
// libsale's mean, channels, amax and values kernels on ragged batches: every sequence gets the bits of its own plain
// call, however the batch is laid out.
#include "tests/emulator/kernels/ragged_keys_case.hpp"

#include "args/amax_args.cuh"
#include "args/channels_args.cuh"
#include "args/mean_args.cuh"
#include "args/values_args.cuh"

namespace sale::test {
namespace {

class RaggedKeys : public RaggedKeysTest {
protected:
  void expect_means(bool of_queries) const;
  void expect_channels(bool chosen) const;
};

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
    ::testing::Values(RaggedKeysCase{"packed", {.kind = Placement::Kind::packed}},
                      RaggedKeysCase{"padded", {.kind = Placement::Kind::padded}},
                      RaggedKeysCase{"pages_of_32", {.kind = Placement::Kind::paged, .page_size = 32}},
                      RaggedKeysCase{"pages_of_48_heads_inside",
                                     {.kind = Placement::Kind::paged, .page_size = 48, .heads_inside = true}}));

} // namespace
} // namespace sale::test
