// SPDX-License-Identifier: Apache-2.0
// libsale's kernels before select, for fp8 estimates, against the oracle: codes, scales and theta bit for bit given
// kbar, channels, weights and T (docs/numerics.md, section 12).
#include "tests/emulator/kernels/kernel_test.hpp"

#include "args/channels_args.cuh"
#include "args/prepare_args.cuh"
#include "args/quantize_args.cuh"
#include "generator/generate.hpp"
#include "reference/channels.hpp"
#include "reference/element.hpp"
#include "reference/means.hpp"
#include "reference/quantize_fp8.hpp"
#include "reference/synthetic.hpp"
#include "reference/thresholds.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace sale::test {
namespace {

using reference::Tensors;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

struct Estimate {
  const char *name;
  int head_dim = 64;
  int estimate_dim = 0;
  EstimateBasis basis = EstimateBasis::all;
  bool pruned = false;
  int gqa = 2;
  int q_len = 150; // the padding is longer than a query block
  int kv_len = 330;
  DType dtype = DType::bf16;
  int block_q = 64;

  int width() const { return estimate_dim == 0 ? head_dim : estimate_dim; }
};

void PrintTo(const Estimate &estimate, std::ostream *out) { *out << estimate.name; }

constexpr int kv_heads = 2;

KernelSpec spec_of(const Estimate &estimate, Stage stage) {
  KernelSpec spec;
  spec.stage = stage;
  spec.arch = {9, 0, true};
  spec.dtype = estimate.dtype;
  spec.head_dim = estimate.head_dim;
  spec.gqa = estimate.gqa;
  spec.estimator = Estimator::fp8;
  spec.estimate_dim = estimate.estimate_dim;
  spec.basis = estimate.basis;
  spec.prune_queries = estimate.pruned;
  spec.block_q = estimate.block_q;
  spec.tile = default_tile(spec);
  return spec;
}

TensorArg packed(const DeviceBuffer &buffer, int tokens, int head_dim) {
  return {buffer.as<void>(), 0, static_cast<long long>(tokens) * head_dim, head_dim};
}

// Of the kernels' arrays, rows q_len.. up to a multiple of 128 are padding.
struct PreparedQueries {
  int q_padded = 0;
  std::vector<float> threshold, theta, scale;
  std::vector<std::uint8_t> codes; // of every channel of the estimate, zero where pruned
};

class Fp8Codes : public KernelTest, public ::testing::WithParamInterface<Estimate> {
protected:
  void make_inputs() {
    const Estimate &e = GetParam();
    Problem problem;
    problem.dtype = e.dtype;
    problem.head_dim = e.head_dim;
    problem.num_q_heads = kv_heads * e.gqa;
    problem.num_kv_heads = kv_heads;
    tensors_ = reference::structured(problem, {1, e.q_len, e.kv_len}, 7);
    kbar_ = reference::mean_keys(tensors_);
    policy_.estimator = Estimator::fp8;
    policy_.block_q = e.block_q;
    policy_.estimate_dim = e.estimate_dim;
    policy_.prune_queries = e.pruned;
    policy_.shift_per_head.assign(static_cast<std::size_t>(problem.num_q_heads), 0.25F);
    policy_.tau_per_head.assign(static_cast<std::size_t>(problem.num_q_heads), 0.01F);
    policy_.tau_per_head[1] = 0;
    if (e.basis == EstimateBasis::projection) {
      std::mt19937 random(3);
      std::normal_distribution<float> normal;
      policy_.projection.resize(static_cast<std::size_t>(kv_heads) * 2 * e.width() * e.head_dim);
      for (float &x : policy_.projection) {
        x = normal(random);
      }
    }
  }

  void choose_channels() { channels_ = reference::choose_channels(tensors_, policy_, kbar_); }

  std::unique_ptr<DeviceBuffer> upload(const std::vector<float> &values) const {
    return Device::get().upload(reference::to_elements(values, GetParam().dtype));
  }

  template <class Args>
  static void run(const KernelSpec &spec, unsigned x, unsigned y, Args &args) {
    Device::get().run(generate(spec), spec.entry_name().c_str(), {x, y}, static_cast<unsigned>(spec.threads()),
                      static_cast<unsigned>(spec.shared_memory()), {&args});
  }

  void expect_keys_quantized() const {
    const Estimate &e = GetParam();
    Device &device = Device::get();
    const int groups = reference::ceil_div(e.kv_len, 32);
    const int padded_groups = reference::ceil_div(groups, 4) * 4;
    const auto k = upload(tensors_.k);
    const auto kbar = device.upload(kbar_);
    const auto channels = device.upload(channels_.index.empty() ? std::vector<int>{0} : channels_.index);
    const auto projection = device.upload(policy_.projection.empty() ? std::vector<float>{0} : policy_.projection);
    const auto codes = device.allocate(tensors_.kv_rows() * static_cast<std::size_t>(e.width()));
    const auto scales = device.allocate(static_cast<std::size_t>(kv_heads) * padded_groups * 4);
    QuantizeArgs args{};
    args.k = packed(*k, e.kv_len, e.head_dim);
    args.kbar = kbar->as<float>();
    args.codes = codes->as<unsigned char>();
    args.scales = scales->as<float>();
    args.channels = channels->as<int>();
    args.projection = projection->as<float>();
    args.num_kv_heads = kv_heads;
    args.kv_len = e.kv_len;
    run(spec_of(e, Stage::quantize), static_cast<unsigned>(groups), kv_heads, args);

    const reference::QuantizedKeys expected = reference::quantize_keys_fp8(tensors_, policy_, kbar_, channels_);
    EXPECT_EQ(codes->read<std::int8_t>(), expected.codes);
    const std::vector<std::uint32_t> words = scales->read<std::uint32_t>();
    for (int g = 0; g < kv_heads; ++g) {
      for (int u = 0; u < padded_groups; ++u) {
        const std::uint32_t word = words[static_cast<std::size_t>(g * padded_groups + u)];
        if (u >= groups) {
          EXPECT_EQ(word, 0U) << "padding word " << u;
          continue;
        }
        const float scale = expected.scales[static_cast<std::size_t>(g * groups + u)];
        EXPECT_EQ(word & 0xffffU, word >> 16U) << "group " << u;
        if (std::isnan(scale)) {
          EXPECT_TRUE(std::isnan(reference::f16_to_float(static_cast<std::uint16_t>(word)))) << "group " << u;
        } else {
          EXPECT_EQ(word & 0xffffU, reference::float_to_f16(scale)) << "group " << u;
        }
      }
    }
  }

  PreparedQueries prepare() const {
    const Estimate &e = GetParam();
    Device &device = Device::get();
    const int heads = kv_heads * e.gqa;
    PreparedQueries result;
    result.q_padded = reference::ceil_div(e.q_len, 128) * 128;
    const std::size_t rows = static_cast<std::size_t>(heads) * result.q_padded;
    const std::size_t width = static_cast<std::size_t>(e.width());
    const auto q = upload(tensors_.q);
    const auto k = upload(tensors_.k);
    const auto kbar = device.upload(kbar_);
    const auto tau = device.upload(policy_.tau_per_head);
    const auto shift = device.upload(policy_.shift_per_head);
    const auto channels = device.upload(channels_.index.empty() ? std::vector<int>{0} : channels_.index);
    const auto projection = device.upload(policy_.projection.empty() ? std::vector<float>{0} : policy_.projection);
    const auto weights = device.upload(channels_.weights.empty() ? std::vector<float>{0} : channels_.weights);
    const auto threshold = device.allocate(rows * 4);
    const auto theta = device.allocate(rows * 4);
    const auto scale = device.allocate(rows * 4);
    const auto codes = device.allocate(rows * width / (e.pruned ? 2 : 1));
    const auto metadata = device.allocate(rows / 64 * (width / 64) * 128 * 4 + 4);
    PrepareArgs args{};
    args.q = packed(*q, e.q_len, e.head_dim);
    args.k = packed(*k, e.kv_len, e.head_dim);
    args.kbar = kbar->as<float>();
    args.tau = tau->as<float>();
    args.shift = shift->as<float>();
    args.threshold = threshold->as<float>();
    args.theta = theta->as<float>();
    args.q_scale = scale->as<float>();
    args.q_codes = codes->as<unsigned char>();
    args.channels = channels->as<int>();
    args.projection = projection->as<float>();
    args.weights = weights->as<float>();
    args.q_metadata = metadata->as<unsigned>();
    args.num_q_heads = heads;
    args.q_len = e.q_len;
    args.kv_len = e.kv_len;
    args.sink = policy_.sink;
    args.window = policy_.window;
    args.softmax_scale = scale_;
    const KernelSpec spec = spec_of(e, Stage::prepare);
    const int head_groups = reference::ceil_div(e.gqa, spec.tile.rows() / e.block_q);
    run(spec, static_cast<unsigned>(reference::ceil_div(e.q_len, e.block_q)),
        static_cast<unsigned>(kv_heads * head_groups), args);
    result.threshold = threshold->read<float>();
    result.theta = theta->read<float>();
    result.scale = scale->read<float>();
    result.codes = codes->read<std::uint8_t>();
    if (e.pruned) {
      result.codes = expanded(result.codes, metadata->read<std::uint32_t>(), rows, width);
    }
    return result;
  }

  // Puts the codes that stayed back to where the metadata say they were.
  static std::vector<std::uint8_t> expanded(const std::vector<std::uint8_t> &codes,
                                            const std::vector<std::uint32_t> &metadata, std::size_t rows,
                                            std::size_t width) {
    std::vector<std::uint8_t> result(rows * width, 0);
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t group = 0; group < width / 4; ++group) {
        const std::size_t in_product = group % 16; // of 64 channels
        const std::size_t thread = row % 64 / 16 * 32 + row % 8 * 4 + row % 16 / 8 + in_product / 8 * 2;
        const std::uint32_t word = metadata[(row / 64 * (width / 64) + group / 16) * 128 + thread];
        const std::uint32_t kept = word >> in_product % 8 * 4 & 0xfU;
        EXPECT_LT(kept & 3U, kept >> 2U) << "row " << row << ", group " << group;
        const std::size_t from = row * width / 2 + group * 2;
        result[row * width + group * 4 + (kept & 3U)] = codes[from];
        result[row * width + group * 4 + (kept >> 2U)] = codes[from + 1];
      }
    }
    return result;
  }

  void expect_queries_prepared(bool threshold_is_finite) const {
    const Estimate &e = GetParam();
    const PreparedQueries got = prepare();
    const reference::QuantizedQueries expected = reference::quantize_queries_fp8(tensors_, policy_, channels_);
    std::vector<float> threshold(tensors_.q_rows());
    for (int h = 0; h < kv_heads * e.gqa; ++h) {
      for (int i = 0; i < e.q_len; ++i) {
        threshold[tensors_.q_row(0, h, i)] = got.threshold[static_cast<std::size_t>(h * got.q_padded + i)];
      }
    }
    const auto frame = reference::frame_thresholds(tensors_, policy_, scale_, kbar_, threshold, expected);
    const auto exact = reference::thresholds(tensors_, policy_, scale_);
    const std::size_t width = static_cast<std::size_t>(e.width());
    const auto same = [](float a, float b) { return std::isnan(b) ? std::isnan(a) : a == b; };
    for (int h = 0; h < kv_heads * e.gqa; ++h) {
      for (int i = 0; i < got.q_padded; ++i) {
        const std::size_t at = static_cast<std::size_t>(h * got.q_padded + i);
        const std::size_t row = tensors_.q_row(0, h, i);
        const auto codes = got.codes.begin() + static_cast<std::ptrdiff_t>(at * width);
        if (i >= e.q_len) {
          ASSERT_TRUE(std::all_of(codes, codes + e.width(), [](std::uint8_t code) { return code == 0; }));
          ASSERT_EQ(got.theta[at], infinity) << "head " << h << ", row " << i;
          ASSERT_EQ(got.threshold[at], infinity) << "head " << h << ", row " << i;
          continue;
        }
        ASSERT_TRUE(std::equal(codes, codes + e.width(),
                               expected.codes.begin() + static_cast<std::ptrdiff_t>(row * width),
                               [](std::uint8_t a, std::int8_t b) { return a == static_cast<std::uint8_t>(b); }))
            << "head " << h << ", row " << i;
        ASSERT_EQ(got.scale[at], expected.scales[row]) << "head " << h << ", row " << i;
        ASSERT_TRUE(same(got.theta[at], frame.theta[row]))
            << "head " << h << ", row " << i << ": " << got.theta[at] << " for " << frame.theta[row];
        if (threshold_is_finite && std::isfinite(exact.value[row])) {
          ASSERT_NEAR(threshold[row], exact.value[row], 1e-3F * (1 + std::fabs(exact.value[row])));
        }
      }
    }
  }

  Tensors tensors_;
  Policy policy_;
  std::vector<float> kbar_;
  reference::Channels channels_;
  float scale_ = 0.125F;
};

TEST_P(Fp8Codes, OfKeysAreTheOracles) {
  make_inputs();
  choose_channels();
  expect_keys_quantized();
}

TEST_P(Fp8Codes, OfQueriesAreTheOracles) {
  make_inputs();
  choose_channels();
  for (const unsigned long long schedule : schedules) {
    Device::get().set_schedule(schedule);
    expect_queries_prepared(true);
  }
}

TEST_P(Fp8Codes, OfHugeTinyZeroAndNanRowsAreTheOracles) {
  make_inputs();
  choose_channels();
  const int dim = GetParam().head_dim;
  const bool wide = GetParam().dtype == DType::bf16;
  const auto set_row = [&](std::vector<float> &rows, std::size_t row, float factor) {
    for (int d = 0; d < dim; ++d) {
      float &x = rows[row * dim + d];
      x = reference::round_to_element(x * factor, GetParam().dtype);
    }
  };
  std::fill(kbar_.begin(), kbar_.begin() + dim, 0.0F); // so that tiny keys of the first head stay tiny
  const auto change = [&](std::vector<float> &rows, std::size_t first, std::size_t stride) {
    for (std::size_t r = 0; r < stride; ++r) {
      set_row(rows, first + r, 0);
      set_row(rows, first + 1 * stride + r, wide ? 1e-21F : 1e-4F);
      set_row(rows, first + 2 * stride + r, wide ? 1e-37F : 1e-7F);
      set_row(rows, first + 3 * stride + r, wide ? 1e21F : 1e4F);
    }
    const auto set = [&](std::size_t row, int channel, float x) {
      rows[(first + row) * dim + channel] = reference::round_to_element(x, GetParam().dtype);
    };
    set(2 * stride + 3, 1, wide ? 1e-39F : 0); // among tiny ones
    set(4 * stride, 2, nan);
    set(4 * stride + 1, 3, infinity);
    set(4 * stride + 2, 4, -infinity);
    set(4 * stride + 3, 5, wide ? 3e6F : 6e4F);
  };
  change(tensors_.k, 0, 32);
  change(tensors_.q, 0, 8);
  change(tensors_.q, tensors_.q_row(0, 1, 0), 8); // whose tau is 0: no key makes T NaN
  // The second head's last keys are near its mean, beside which rows past the end would be large.
  for (int d = 0; d < dim; ++d) {
    float &mean = kbar_[dim + d];
    mean = reference::round_to_element(4 + mean, GetParam().dtype);
    for (int key = GetParam().kv_len / 32 * 32; key < GetParam().kv_len; ++key) {
      tensors_.k[tensors_.kv_row(0, 1, key) * dim + d] = reference::round_to_element(mean + 0.25F, GetParam().dtype);
    }
  }
  expect_keys_quantized();
  expect_queries_prepared(false);
}

// Estimates of some channels, or pruned.
class Fp8Channels : public Fp8Codes {
protected:
  // given: the channels are; only weights are wanted.
  void expect_chosen(bool given) const {
    const Estimate &e = GetParam();
    constexpr int splits = 4; // the last one has fewer tokens
    Device &device = Device::get();
    const auto q = upload(tensors_.q);
    const auto k = upload(tensors_.k);
    const auto kbar = device.upload(kbar_);
    const std::size_t count = static_cast<std::size_t>(kv_heads) * e.width();
    const bool chosen = e.basis == EstimateBasis::channels;
    const auto partial = device.allocate(static_cast<std::size_t>(kv_heads) * splits * 2 * e.head_dim * 4);
    const auto arrived = device.upload(std::vector<unsigned>(kv_heads, 0));
    const auto index = device.upload(given ? channels_.index : std::vector<int>(count, -1));
    const auto weights = device.allocate(count * 4);
    ChannelsArgs args{};
    args.q = packed(*q, e.q_len, e.head_dim);
    args.k = packed(*k, e.kv_len, e.head_dim);
    args.kbar = kbar->as<float>();
    args.partial = partial->as<float>();
    args.arrived = arrived->as<unsigned>();
    args.channels = given || !chosen ? nullptr : index->as<int>();
    args.given = given && chosen ? index->as<int>() : nullptr;
    args.weights = weights->as<float>();
    args.num_q_heads = kv_heads * e.gqa;
    args.num_kv_heads = kv_heads;
    args.q_len = e.q_len;
    args.kv_len = e.kv_len;
    args.splits = splits;
    run(spec_of(e, Stage::channels), splits, kv_heads, args);
    if (chosen) {
      EXPECT_EQ(index->read<int>(), channels_.index);
    }
    const std::vector<float> got = weights->read<float>();
    for (std::size_t c = 0; c < count; ++c) {
      const float expected = channels_.weights[c];
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(got[c])) << c;
      } else {
        EXPECT_NEAR(got[c], expected, 1e-5F * expected) << c;
      }
    }
  }
};

TEST_P(Fp8Channels, AndWeightsAreThoseOfTheLargestEnergies) {
  make_inputs();
  policy_.prune_queries = true;
  choose_channels();
  for (const unsigned long long schedule : schedules) {
    Device::get().set_schedule(schedule);
    for (const bool given : {false, true}) {
      expect_chosen(given);
    }
  }
}

// Estimates of channels that the kernel chooses.
class Fp8ChannelTies : public Fp8Channels {};

TEST_P(Fp8ChannelTies, GoToTheLowerIndexAndNanCountsAsTheLargest) {
  const int dim = GetParam().head_dim;
  make_inputs();
  policy_.prune_queries = true;
  for (std::vector<float> *rows : {&tensors_.q, &tensors_.k, &kbar_}) {
    for (std::size_t first = 0; first < rows->size(); first += static_cast<std::size_t>(dim)) {
      std::fill_n(rows->begin() + static_cast<std::ptrdiff_t>(first), dim, (*rows)[first]);
    }
  }
  tensors_.k[tensors_.kv_row(0, 1, 8) * dim + dim - 1] = nan;
  choose_channels();
  expect_chosen(false);
}

constexpr EstimateBasis chosen = EstimateBasis::channels;
constexpr EstimateBasis projected = EstimateBasis::projection;

constexpr Estimate whole[] = {
    {.name = "all"},
    {.name = "all_of_128", .head_dim = 128, .gqa = 5},
    {.name = "all_of_96", .head_dim = 96, .gqa = 1, .dtype = DType::f16, .block_q = 128},
    {.name = "all_of_256", .head_dim = 256, .gqa = 1, .q_len = 70},
    {.name = "projected", .estimate_dim = 32, .basis = projected},
    {.name = "projected_64_of_96", .head_dim = 96, .estimate_dim = 64, .basis = projected, .gqa = 3, .q_len = 70},
    {.name = "projected_96_of_128", .head_dim = 128, .estimate_dim = 96, .basis = projected, .q_len = 70}};

constexpr Estimate chosen_or_pruned[] = {
    {.name = "channels", .estimate_dim = 32, .basis = chosen},
    {.name = "half_of_128", .head_dim = 128, .estimate_dim = 64, .basis = chosen, .gqa = 4},
    {.name = "channels_96_of_256",
     .head_dim = 256,
     .estimate_dim = 96,
     .basis = chosen,
     .q_len = 70,
     .dtype = DType::f16},
    {.name = "pruned", .pruned = true},
    {.name = "pruned_half_of_128", .head_dim = 128, .estimate_dim = 64, .basis = chosen, .pruned = true, .gqa = 3},
    {.name = "pruned_128", .head_dim = 128, .pruned = true, .q_len = 70}};

std::string name_of(const ::testing::TestParamInfo<Estimate> &estimate) { return estimate.param.name; }

INSTANTIATE_TEST_SUITE_P(Whole, Fp8Codes, ::testing::ValuesIn(whole), name_of);
INSTANTIATE_TEST_SUITE_P(ChosenOrPruned, Fp8Codes, ::testing::ValuesIn(chosen_or_pruned), name_of);
INSTANTIATE_TEST_SUITE_P(ChosenOrPruned, Fp8Channels, ::testing::ValuesIn(chosen_or_pruned), name_of);
INSTANTIATE_TEST_SUITE_P(Chosen, Fp8ChannelTies, ::testing::Values(chosen_or_pruned[0], chosen_or_pruned[1]), name_of);

} // namespace
} // namespace sale::test
