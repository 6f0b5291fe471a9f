// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/kernel_source.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sale::test {
namespace {

constexpr int rows_per_block = 64;
constexpr int keys_per_block = 32;
constexpr int gqa = 2;
constexpr int mask_words = 4;

struct SelectCase {
  WgmmaOperand operand;
  int head_dim;
  int q_len;
  int kv_len;
  bool sparse; ///< Q has channels 1 and 3 of every four only.
};

std::ostream &operator<<(std::ostream &out, const SelectCase &c) {
  return out << fmt::format("{} d{} {}x{}{}", c.operand == WgmmaOperand::s8 ? "s8" : "e4m3", c.head_dim, c.q_len,
                            c.kv_len, c.sparse ? " sparse" : "");
}

std::string source_of(const SelectCase &c) {
  const bool integer = c.operand == WgmmaOperand::s8;
  return kernel_source(
      "select_sm90a.cuh",
      {{.operand = c.operand, .result = integer ? WgmmaResult::s32 : WgmmaResult::f32, .n = 64, .sparse = c.sparse}},
      fmt::format("struct Config {{\n  using Operand = {};\n  using Result = {};\n"
                  "  static constexpr int head_dim = {};\n  static constexpr int stages = 2;\n"
                  "  static constexpr int mask_words = {};\n  static constexpr bool sparse = {};\n"
                  "  static constexpr u32 metadata = 0xdddddddd; // 3, 1 in each nibble\n}};\n",
                  integer ? "Signed8" : "E4m3", integer ? "s32" : "f32", c.head_dim, mask_words, c.sparse));
}

unsigned shared_bytes_of(const SelectCase &c) {
  const int q_row = c.sparse ? c.head_dim / 2 : c.head_dim;
  return static_cast<unsigned>(2 * 64 * q_row + 2 * 64 * c.head_dim + 2 * mask_words * 4 + 8 + 2 * 2 * 8);
}

/// As SelectArgs of select_sm90a.cuh.
struct SelectArgs {
  const float *theta;
  std::uint32_t *mask;
  int q_len;
  int kv_len;
  int mask_words;
};

/// An integer of at most 4 in magnitude.
std::uint8_t code(WgmmaOperand operand, int value) {
  constexpr std::uint8_t e4m3[] = {0x00, 0x38, 0x40, 0x44, 0x48};
  if (operand == WgmmaOperand::s8) {
    return static_cast<std::uint8_t>(value);
  }
  return static_cast<std::uint8_t>(e4m3[std::abs(value)] | (value < 0 ? 0x80 : 0));
}

// Integers, so that every product and sum is exact whatever precision the tensor core keeps.
struct Problem {
  SelectCase c;
  int heads = 4;
  int row_channels = c.sparse ? c.head_dim / 2 : c.head_dim; ///< That Q stores.
  std::vector<int> q;                                        ///< [heads, q_len, row_channels]
  std::vector<int> k;                                        ///< [heads / gqa, kv_len, head_dim]
  std::vector<float> theta;                                  ///< [heads, q_len]

  explicit Problem(const SelectCase &with) : c(with) {
    std::mt19937 random(static_cast<unsigned>(c.q_len * 1000 + c.kv_len));
    std::uniform_int_distribution<int> value(-4, 4);
    q.resize(static_cast<std::size_t>(heads) * c.q_len * row_channels);
    k.resize(static_cast<std::size_t>(heads / gqa) * c.kv_len * c.head_dim);
    std::generate(q.begin(), q.end(), [&] { return value(random); });
    std::generate(k.begin(), k.end(), [&] { return value(random); });
    // One row in eight decides: one of its three largest visible estimates is its threshold, the largest sets no bit.
    std::uniform_int_distribution<std::size_t> rank(0, 2);
    for (int head = 0; head < heads; ++head) {
      for (int row = 0; row < c.q_len; ++row) {
        std::vector<float> estimates;
        for (int key = 0; key < end_key(row); ++key) {
          estimates.push_back(estimate(head, row, key));
        }
        std::sort(estimates.rbegin(), estimates.rend());
        const bool decides = random() % 8 == 0;
        theta.push_back(decides ? estimates[std::min(rank(random), estimates.size() - 1)]
                                : std::numeric_limits<float>::infinity());
      }
    }
  }

  int q_blocks() const { return (c.q_len + rows_per_block - 1) / rows_per_block; }
  int end_key(int row) const { return c.kv_len - c.q_len + row + 1; }

  float estimate(int head, int row, int key) const {
    const int *a = q.data() + (static_cast<std::size_t>(head) * c.q_len + row) * row_channels;
    const int *b = k.data() + (static_cast<std::size_t>(head / gqa) * c.kv_len + key) * c.head_dim;
    int sum = 0;
    for (int d = 0; d < row_channels; ++d) {
      sum += a[d] * b[c.sparse ? 2 * d + 1 : d];
    }
    return static_cast<float>(sum);
  }

  std::vector<std::uint8_t> codes(const std::vector<int> &values) const {
    std::vector<std::uint8_t> result;
    std::transform(values.begin(), values.end(), std::back_inserter(result),
                   [&](int value) { return code(c.operand, value); });
    return result;
  }

  std::vector<std::uint32_t> expected_mask() const {
    std::vector<std::uint32_t> mask(static_cast<std::size_t>(heads) * q_blocks() * mask_words, 0);
    for (int head = 0; head < heads; ++head) {
      for (int row = 0; row < c.q_len; ++row) {
        for (int key = 0; key < end_key(row); ++key) {
          if (estimate(head, row, key) > theta[static_cast<std::size_t>(head) * c.q_len + row]) {
            set(mask, head, row, key);
          }
        }
      }
    }
    return mask;
  }

  void set(std::vector<std::uint32_t> &mask, int head, int row, int key) const {
    const int at = key / keys_per_block;
    const std::size_t line = static_cast<std::size_t>(head) * q_blocks() + row / rows_per_block;
    mask[line * mask_words + at / 32] |= 1U << at % 32;
  }
};

std::vector<std::uint32_t> run(const Problem &problem, const std::vector<std::uint8_t> &q,
                               const std::vector<std::uint8_t> &k) {
  const SelectCase &c = problem.c;
  Device &device = Device::get();
  const auto q_device = device.upload(q);
  const auto k_device = device.upload(k);
  const auto theta = device.upload(problem.theta);
  const auto mask = device.allocate(static_cast<std::size_t>(problem.heads) * problem.q_blocks() * mask_words * 4);
  TensorMap q_map = device.tensor_map(*q_device, {.heads = problem.heads,
                                                  .rows = c.q_len,
                                                  .channels = problem.row_channels,
                                                  .element_bytes = 1,
                                                  .box_channels = problem.row_channels});
  TensorMap k_map = device.tensor_map(*k_device, {.heads = problem.heads / gqa,
                                                  .rows = c.kv_len,
                                                  .channels = c.head_dim,
                                                  .element_bytes = 1,
                                                  .box_channels = c.head_dim});
  SelectArgs args{theta->as<float>(), mask->as<std::uint32_t>(), c.q_len, c.kv_len, mask_words};
  device.run(source_of(c), "select_sm90a",
             {static_cast<unsigned>(problem.q_blocks()), static_cast<unsigned>(problem.heads / gqa)}, 384,
             shared_bytes_of(c), {&q_map, &k_map, &args});
  return mask->read<std::uint32_t>();
}

class SelectKernel : public KernelTest, public ::testing::WithParamInterface<SelectCase> {};

TEST_P(SelectKernel, SetsTheBitsOfPlainLoopsInAnyOrderOfThreads) {
  const Problem problem(GetParam());
  const std::vector<std::uint32_t> expected = problem.expected_mask();
  ASSERT_TRUE(std::any_of(expected.begin(), expected.end(), [](std::uint32_t word) { return word != 0; }));
  for (const unsigned long long seed : schedules) {
    Device::get().set_schedule(seed);
    EXPECT_EQ(run(problem, problem.codes(problem.q), problem.codes(problem.k)), expected) << "schedule " << seed;
  }
}

class SelectKernelCode : public ::testing::TestWithParam<SelectCase> {};

TEST_P(SelectKernelCode, IsGoodOnHopper) { expect_good_hopper_code(source_of(GetParam())); }

const auto cases = ::testing::Values(
    SelectCase{WgmmaOperand::e4m3, 128, 64, 256, false}, SelectCase{WgmmaOperand::e4m3, 64, 100, 333, false},
    SelectCase{WgmmaOperand::s8, 128, 65, 223, false}, SelectCase{WgmmaOperand::e4m3, 128, 70, 150, true},
    SelectCase{WgmmaOperand::s8, 128, 64, 1200, true});
INSTANTIATE_TEST_SUITE_P(Cases, SelectKernel, cases);
INSTANTIATE_TEST_SUITE_P(Cases, SelectKernelCode, cases);

using SelectKernelRules = KernelTest;

TEST_F(SelectKernelRules, ANanEstimateKeepsItsBlock) {
  Problem problem(SelectCase{WgmmaOperand::e4m3, 64, 64, 200, false});
  problem.theta.assign(problem.theta.size(), std::numeric_limits<float>::infinity());
  std::vector<std::uint8_t> k = problem.codes(problem.k);
  k[static_cast<std::size_t>(50) * 64 + 3] = 0x7f; // key 50 of KV head 0
  std::vector<std::uint32_t> expected = problem.expected_mask();
  problem.set(expected, 0, 0, 50);
  problem.set(expected, 1, 0, 50);
  EXPECT_EQ(run(problem, problem.codes(problem.q), k), expected);
}

} // namespace
} // namespace sale::test
