// SPDX-License-Identifier: Apache-2.0
// libsale's select kernels where the method's own data hardly gets: estimates equal to their threshold, NaN, zero
// scales, biases of any size (docs/numerics.md, section 7), and every shape of the range that is estimated.
#include "tests/emulator/kernels/kernel_test.hpp"

#include "args/select_args.cuh"
#include "generator/generate.hpp"
#include "reference/region.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sale::test {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

struct RulesCase {
  Arch arch;
  Estimator estimator;
  int head_dim;
  int block_q;
  int block_k;
  int q_len = 200;
  int kv_len = 1500;
  bool causal = true;
  int sliding_window = 0;
  int sink = 0;
  int window = 0;
};

std::ostream &operator<<(std::ostream &out, const RulesCase &c) {
  return out << fmt::format("{} {} d{} q{} k{} {}x{} {}{} sink {} window {}", c.arch.name(), to_string(c.estimator),
                            c.head_dim, c.block_q, c.block_k, c.q_len, c.kv_len, c.causal ? "causal" : "all keys",
                            c.sliding_window != 0 ? fmt::format(" sliding {}", c.sliding_window) : "", c.sink,
                            c.window);
}

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// One query head. Codes are small integers and scales powers of two, so that many estimates equal their thresholds.
struct Inputs {
  static constexpr int nan_key = 100; // of exact: has a NaN channel

  RulesCase c;
  int q_len = c.q_len;
  int kv_len = c.kv_len;
  int q_padded = round_up(q_len, 128);
  int groups = (kv_len + 31) / 32;
  KernelSpec spec;
  std::vector<int> q, k;      // [len, head_dim]
  std::vector<float> k_scale; // [groups, 4]: of keys by (key mod 8)/2; int8 uses the first
  std::vector<float> q_scale; // [q_len]: int4, shared by rows r and r + 8 of 16
  std::vector<float> bias;    // [groups * 32]: int4
  std::vector<float> theta;   // [q_padded]

  explicit Inputs(const RulesCase &with)
      : c(with), bias(static_cast<std::size_t>(groups) * 32), theta(static_cast<std::size_t>(q_padded), infinity) {
    spec.stage = Stage::select;
    spec.arch = c.arch;
    spec.head_dim = c.head_dim;
    spec.estimator = c.estimator;
    spec.block_q = c.block_q;
    spec.block_k = c.block_k;
    spec.causal = c.causal;
    spec.sliding = c.sliding_window != 0;
    spec.tile = default_tile(spec);

    std::mt19937 random(11);
    const auto one_of = [&](std::initializer_list<float> values) { return values.begin()[random() % values.size()]; };
    const auto codes = [&](int len) {
      std::vector<int> values(static_cast<std::size_t>(len) * c.head_dim);
      for (int &value : values) {
        value = random() % 4 == 0 ? static_cast<int>(random() % 5) - 2 : 0;
      }
      return values;
    };
    q = codes(q_len);
    k = codes(kv_len);
    for (int i = 0; i < groups * 4; ++i) {
      k_scale.push_back(random() % 40 == 0 ? one_of({0.0F, nan}) : one_of({0.5F, 1.0F}));
    }
    for (int row = 0; row < q_padded; ++row) {
      q_scale.push_back(row % 16 < 8 || row < 8 ? one_of({0.25F, 1.0F, 2.0F}) : 0.0F);
      if (row % 16 >= 8) {
        q_scale.back() = q_scale[static_cast<std::size_t>(row - 8)];
      }
    }
    for (float &value : bias) {
      value = static_cast<float>(static_cast<int>(random() % 9) - 4) * 0.5F;
      if (random() % 60 == 0) { // beyond the fast path's room, beyond an int, or nothing
        value = one_of({-3e6F, -2e9F, -1e30F, -infinity, nan, 2.2e6F, 2.6e6F, 3.1e6F, 7e8F});
      }
    }
    // Few rows decide: by one of the largest estimates that no outlying bias made, the last rows by one that such a
    // bias made.
    for (int row = 0; row < q_len; ++row) {
      if (random() % 16 == 0) {
        std::vector<float> ordinary;
        std::vector<float> outlying;
        for (const int key : estimated_keys(row / c.block_q)) {
          const float e = estimate(row, key);
          if (std::abs(e) < 1e5F) { // false for NaN
            ordinary.push_back(e);
          } else if (e > 0) {
            outlying.push_back(e);
          }
        }
        std::sort(ordinary.rbegin(), ordinary.rend());
        const bool outlier = !outlying.empty() && random() % 2 == 0;
        if (outlier || ordinary.size() > 4) {
          theta[static_cast<std::size_t>(row)] =
              outlier ? outlying[random() % outlying.size()] : ordinary[random() % 4];
        }
      }
    }
  }

  reference::Region region(int block) const {
    Problem problem;
    problem.causal = c.causal;
    problem.sliding_window = c.sliding_window;
    Policy policy;
    policy.block_q = c.block_q;
    policy.block_k = c.block_k;
    policy.sink = c.sink;
    policy.window = c.window;
    return reference::region_of(policy, problem, {1, q_len, kv_len}, block);
  }

  std::vector<int> estimated_keys(int block) const {
    const reference::Region of = region(block);
    std::vector<int> keys;
    for (int key = 0; key < kv_len; ++key) {
      if (of.estimated(key / c.block_k)) {
        keys.push_back(key);
      }
    }
    return keys;
  }

  static float of(const std::vector<float> &values, int i) { return values[static_cast<std::size_t>(i)]; }

  float scale_of(int key) const {
    return of(k_scale, key / 32 * 4 + (spec.estimator == Estimator::int4 ? key % 8 / 2 : 0));
  }

  // NaN where docs/numerics.md says that the pair keeps its block, -inf where it says that it never does.
  float estimate(int row, int key) const {
    int sum = 0;
    for (int d = 0; d < spec.head_dim; ++d) {
      sum +=
          q[static_cast<std::size_t>(row * spec.head_dim + d)] * k[static_cast<std::size_t>(key * spec.head_dim + d)];
    }
    if (spec.estimator == Estimator::exact) {
      return key == nan_key ? nan : static_cast<float>(sum);
    }
    if (spec.estimator == Estimator::int8) {
      return static_cast<float>(sum) * scale_of(key);
    }
    const float exact = of(bias, key) * (1.0F / of(q_scale, row));
    if (std::isnan(exact) || scale_of(key) == 0.0F) {
      return -infinity;
    }
    const int rounded = static_cast<int>(std::nearbyint(std::clamp(exact, -1073741824.0F, 1073741824.0F)));
    return static_cast<float>(sum + rounded) * scale_of(key);
  }

  std::vector<std::uint32_t> expected_mask(int words) const {
    const int q_blocks = (q_len + spec.block_q - 1) / spec.block_q;
    std::vector<std::uint32_t> mask(static_cast<std::size_t>(q_blocks * words), 0);
    for (int block = 0; block < q_blocks; ++block) {
      const reference::Region blocks = region(block);
      for (int j = blocks.first_visible; j < blocks.visible_blocks; ++j) {
        bool keep = !blocks.estimated(j);
        for (int row = block * spec.block_q; !keep && row < std::min((block + 1) * spec.block_q, q_len); ++row) {
          for (int key = j * spec.block_k; key < (j + 1) * spec.block_k; ++key) {
            keep = keep || !(estimate(row, key) <= of(theta, row));
          }
        }
        mask[static_cast<std::size_t>(block * words + j / 32)] |= static_cast<std::uint32_t>(keep) << j % 32;
      }
    }
    return mask;
  }

  // bf16, for exact.
  std::vector<std::uint16_t> elements(const std::vector<int> &values) const {
    std::vector<std::uint16_t> result;
    for (const int value : values) {
      const auto number = static_cast<float>(value);
      std::uint32_t bits = 0;
      std::memcpy(&bits, &number, 4);
      result.push_back(static_cast<std::uint16_t>(bits >> 16));
    }
    if (values.size() == k.size()) {
      result[static_cast<std::size_t>(nan_key * spec.head_dim + 5)] = 0x7fc0;
    }
    return result;
  }

  // As the kernels keep codes: a byte each, or a nibble with the even channel low.
  std::vector<std::uint8_t> rows(const std::vector<int> &codes, int len) const {
    const bool nibbles = spec.estimator == Estimator::int4 && spec.arch.has_int4_mma();
    const int row_bytes = spec.code_row_bytes();
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(len) * row_bytes, 0);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const std::size_t row = i / spec.head_dim;
      const std::size_t channel = i % spec.head_dim;
      if (nibbles) {
        bytes[row * row_bytes + channel / 2] |= static_cast<std::uint8_t>((codes[i] & 15) << channel % 2 * 4);
      } else {
        bytes[row * row_bytes + channel] = static_cast<std::uint8_t>(codes[i]);
      }
    }
    return bytes;
  }
};

class SelectRules : public KernelTest, public ::testing::WithParamInterface<RulesCase> {};

TEST_P(SelectRules, HoldForTiesNanAndBiasesOfAnySize) {
  const Inputs in(GetParam());
  const KernelSpec &spec = in.spec;
  const int words = round_up((in.kv_len + 32 * spec.block_k - 1) / (32 * spec.block_k), 4);
  const std::vector<std::uint32_t> expected = in.expected_mask(words);
  int estimated = 0;
  int kept = 0;
  for (int block = 0; block * spec.block_q < in.q_len; ++block) {
    const reference::Region of = in.region(block);
    for (int j = 0; j < of.visible_blocks; ++j) {
      estimated += of.estimated(j) ? 1 : 0;
      kept += of.estimated(j) && (expected[static_cast<std::size_t>(block * words + j / 32)] >> j % 32 & 1U) != 0;
    }
  }
  ASSERT_TRUE(estimated == 0 || (kept > 0 && kept < estimated)) << kept << " of " << estimated;
  std::vector<float> scales = in.k_scale;
  if (spec.estimator == Estimator::int8) {
    scales.clear();
    for (int group = 0; group < in.groups; ++group) {
      scales.push_back(Inputs::of(in.k_scale, group * 4));
    }
  }
  Device &device = Device::get();
  const bool exact = spec.estimator == Estimator::exact;
  const auto q_data = exact ? device.upload(in.elements(in.q)) : device.upload(in.rows(in.q, in.q_padded));
  const auto k_data = exact ? device.upload(in.elements(in.k)) : device.upload(in.rows(in.k, in.kv_len));
  const auto k_scales = device.upload(scales);
  const auto q_scale = device.upload(in.q_scale);
  const auto bias = device.upload(in.bias);
  const auto theta = device.upload(in.theta);
  const auto tau = device.upload(std::vector<float>{0.5F});
  const auto mask = device.allocate(expected.size() * 4);
  SelectArgs args{};
  args.q = {q_data->as<void>(), 0, 0, spec.head_dim};
  args.k = {k_data->as<void>(), 0, 0, spec.head_dim};
  args.q_codes = q_data->as<unsigned char>();
  args.k_codes = k_data->as<unsigned char>();
  args.k_scales = k_scales->as<float>();
  args.q_scale = q_scale->as<float>();
  args.bias = bias->as<float>();
  args.theta = theta->as<float>();
  args.tau = tau->as<float>();
  args.mask = mask->as<unsigned>();
  args.num_q_heads = 1;
  args.q_len = in.q_len;
  args.kv_len = in.kv_len;
  args.sink = in.c.sink;
  args.window = in.c.window;
  args.sliding_window = in.c.sliding_window;
  args.mask_words = words;
  const auto ctas = static_cast<unsigned>((in.q_len + spec.tile.rows() - 1) / spec.tile.rows());
  device.run(generate(spec), spec.entry_name().c_str(), {ctas, 1}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});
  EXPECT_EQ(mask->read<std::uint32_t>(), expected);
}

const auto cases =
    ::testing::Values(RulesCase{{9, 0}, Estimator::int8, 64, 64, 32}, RulesCase{{9, 0}, Estimator::int8, 128, 128, 64},
                      RulesCase{{9, 0}, Estimator::exact, 64, 64, 32}, RulesCase{{9, 0}, Estimator::int4, 64, 64, 32},
                      RulesCase{{8, 0}, Estimator::int4, 128, 64, 64});
INSTANTIATE_TEST_SUITE_P(Cases, SelectRules, cases);

const auto sliding_cases = ::testing::Values(
    // One key a row; nothing is estimated.
    RulesCase{.arch = {9, 0},
              .estimator = Estimator::int8,
              .head_dim = 64,
              .block_q = 64,
              .block_k = 32,
              .sliding_window = 1},
    RulesCase{.arch = {9, 0},
              .estimator = Estimator::int8,
              .head_dim = 64,
              .block_q = 128,
              .block_k = 32,
              .sliding_window = 31,
              .sink = 40,
              .window = 100},
    RulesCase{.arch = {9, 0},
              .estimator = Estimator::int8,
              .head_dim = 128,
              .block_q = 128,
              .block_k = 64,
              .q_len = 700,
              .kv_len = 1213,
              .sliding_window = 500,
              .sink = 40,
              .window = 31},
    RulesCase{.arch = {8, 0},
              .estimator = Estimator::int8,
              .head_dim = 64,
              .block_q = 64,
              .block_k = 128,
              .q_len = 517,
              .kv_len = 1517,
              .sliding_window = 1300},
    RulesCase{.arch = {9, 0},
              .estimator = Estimator::exact,
              .head_dim = 64,
              .block_q = 64,
              .block_k = 32,
              .sliding_window = 100},
    RulesCase{.arch = {8, 0},
              .estimator = Estimator::exact,
              .head_dim = 128,
              .block_q = 128,
              .block_k = 32,
              .q_len = 333,
              .kv_len = 900,
              .sliding_window = 260,
              .sink = 600},
    RulesCase{.arch = {9, 0},
              .estimator = Estimator::int4,
              .head_dim = 64,
              .block_q = 64,
              .block_k = 32,
              .sliding_window = 1100,
              .sink = 64,
              .window = 64},
    RulesCase{.arch = {8, 0},
              .estimator = Estimator::int4,
              .head_dim = 128,
              .block_q = 64,
              .block_k = 64,
              .sliding_window = 4096});
INSTANTIATE_TEST_SUITE_P(SlidingWindow, SelectRules, sliding_cases);

const auto two_sided_cases =
    ::testing::Values(RulesCase{.arch = {9, 0},
                                .estimator = Estimator::int8,
                                .head_dim = 64,
                                .block_q = 64,
                                .block_k = 32,
                                .causal = false,
                                .sink = 40,
                                .window = 100},
                      // A tile of rows has query blocks whose near blocks differ; more rows than keys.
                      RulesCase{.arch = {8, 0},
                                .estimator = Estimator::int8,
                                .head_dim = 128,
                                .block_q = 64,
                                .block_k = 64,
                                .q_len = 1500,
                                .kv_len = 1111,
                                .causal = false},
                      RulesCase{.arch = {9, 0},
                                .estimator = Estimator::int8,
                                .head_dim = 64,
                                .block_q = 128,
                                .block_k = 128,
                                .q_len = 333,
                                .kv_len = 1409,
                                .causal = false,
                                .window = 31},
                      // Nothing is whole.
                      RulesCase{.arch = {9, 0},
                                .estimator = Estimator::int8,
                                .head_dim = 64,
                                .block_q = 64,
                                .block_k = 32,
                                .q_len = 70,
                                .kv_len = 31,
                                .causal = false},
                      RulesCase{.arch = {9, 0},
                                .estimator = Estimator::exact,
                                .head_dim = 64,
                                .block_q = 64,
                                .block_k = 32,
                                .q_len = 100,
                                .kv_len = 1500,
                                .causal = false,
                                .sink = 400},
                      RulesCase{.arch = {8, 0},
                                .estimator = Estimator::exact,
                                .head_dim = 128,
                                .block_q = 128,
                                .block_k = 32,
                                .q_len = 400,
                                .kv_len = 401,
                                .causal = false,
                                .sink = 64,
                                .window = 64},
                      RulesCase{.arch = {9, 0},
                                .estimator = Estimator::int4,
                                .head_dim = 64,
                                .block_q = 128,
                                .block_k = 64,
                                .q_len = 300,
                                .kv_len = 1255,
                                .causal = false},
                      RulesCase{.arch = {8, 0},
                                .estimator = Estimator::int4,
                                .head_dim = 128,
                                .block_q = 64,
                                .block_k = 32,
                                .q_len = 1,
                                .kv_len = 1500,
                                .causal = false,
                                .window = 5000});
INSTANTIATE_TEST_SUITE_P(AllKeys, SelectRules, two_sided_cases);

} // namespace
} // namespace sale::test
