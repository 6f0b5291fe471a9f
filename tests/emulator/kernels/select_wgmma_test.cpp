// SPDX-License-Identifier: Apache-2.0
// select of the wgmma family alone, with codes, scales and thresholds that its callers hardly give it, against plain
// loops.
#include "args/select_wgmma_args.cuh"
#include "generator/generate.hpp"
#include "generator/kernel_spec.hpp"
#include "reference/region.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace sale::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

struct SelectWgmmaCase {
  int width = 128; ///< estimate_dim
  int q_len = 64;
  int kv_len = 256;
  int gqa = 4;
  int block_q = 64;
  int block_k = 32;
  int kv_heads = 2;
  int batch = 1;
  bool pruned = false;
  bool int8 = false; ///< Not fp8.
  int consumers = 4;
  int units = 1; ///< 64 rows each, of a warpgroup
  int keys_per_step = 128;
  int stages = 2;
  int sink = 32;
  int window = 64;
  bool drawn = true; ///< Items come from a counter.
  bool causal = true;
  int sliding_window = 0;
};

std::ostream &operator<<(std::ostream &out, const SelectWgmmaCase &c) {
  return out << fmt::format("{}{}{} {}x{} gqa{} q{} k{} heads {}x{} consumers {}x{} keys {}x{}{}{}{}",
                            c.int8 ? "d" : "e", c.width, c.pruned ? " 2:4" : "", c.q_len, c.kv_len, c.gqa, c.block_q,
                            c.block_k, c.batch, c.kv_heads, c.consumers, c.units, c.keys_per_step, c.stages,
                            c.drawn ? "" : " strided", c.causal ? "" : " all keys",
                            c.sliding_window != 0 ? fmt::format(" sliding {}", c.sliding_window) : "");
}

KernelSpec spec_of(const SelectWgmmaCase &c) {
  KernelSpec spec;
  spec.stage = Stage::select;
  spec.arch = Arch{9, 0, true};
  spec.head_dim = c.int8 ? c.width : 256;
  spec.gqa = c.gqa;
  spec.estimator = c.int8 ? Estimator::int8 : Estimator::fp8;
  spec.block_q = c.block_q;
  spec.block_k = c.block_k;
  spec.estimate_dim = c.width == spec.head_dim ? 0 : c.width;
  spec.basis = c.width == spec.head_dim ? EstimateBasis::all : EstimateBasis::channels;
  spec.prune_queries = c.pruned;
  spec.causal = c.causal;
  spec.sliding = c.sliding_window != 0;
  spec.tile = {
      .rows_per_warp = 16 * c.units, .warps = 4 * c.consumers, .keys_per_step = c.keys_per_step, .stages = c.stages};
  return spec;
}

int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// Of an integer of at most 4 in magnitude.
std::uint8_t code(int value, bool int8) {
  if (int8) {
    return static_cast<std::uint8_t>(value);
  }
  constexpr std::uint8_t magnitude[] = {0x00, 0x38, 0x40, 0x44, 0x48};
  return static_cast<std::uint8_t>(magnitude[std::abs(value)] | (value < 0 ? 0x80 : 0));
}

/// The largest f16 that is at most x: from the exponent, with exact steps.
double round_down_to_f16(float x) {
  if (std::isnan(x) || std::isinf(x)) {
    return x;
  }
  const int exponent = std::max(std::ilogb(x == 0 ? 1.0F : x), -14);
  const double step = std::ldexp(1.0, exponent - 10);
  const double down = std::floor(x / step) * step;
  return down > 65504 ? 65504 : down < -65504 ? -static_cast<double>(infinity) : down;
}

/// Codes are small integers, so that every product and sum is exact; scales are powers of two.
class Problem {
public:
  explicit Problem(const SelectWgmmaCase &with) : c(with), random_(static_cast<unsigned>(c.q_len * 1000 + c.kv_len)) {
    std::uniform_int_distribution<int> value(-4, 4);
    std::uniform_int_distribution<int> exponent(-3, 3);
    std::uniform_int_distribution<int> pattern(0, 5);
    q.resize(static_cast<std::size_t>(q_heads()) * q_padded() * stored_width());
    k.resize(static_cast<std::size_t>(all_kv_heads()) * c.kv_len * c.width);
    std::generate(q.begin(), q.end(), [&] { return value(random_); });
    std::generate(k.begin(), k.end(), [&] { return value(random_); });
    scale_exponent.resize(static_cast<std::size_t>(all_kv_heads()) * scales_per_head());
    std::generate(scale_exponent.begin(), scale_exponent.end(), [&] { return exponent(random_); });
    if (c.pruned) {
      patterns.resize(q.size() / 2);
      std::generate(patterns.begin(), patterns.end(), [&] { return pattern(random_); });
    }
    tau.assign(static_cast<std::size_t>(c.gqa) * c.kv_heads, 0.004F);
    draw_thresholds();
  }

  int q_heads() const { return c.batch * c.kv_heads * c.gqa; }
  int all_kv_heads() const { return c.batch * c.kv_heads; }
  int q_padded() const { return ceil_div(c.q_len, 128) * 128; }
  int q_blocks() const { return ceil_div(c.q_len, c.block_q); }
  int k_blocks() const { return ceil_div(c.kv_len, c.block_k); }
  int scales_per_head() const { return c.int8 ? ceil_div(c.kv_len, 32) : ceil_div(c.kv_len, 128) * 4; }
  int mask_words() const { return ceil_div(ceil_div(k_blocks(), 32), 4) * 4; }
  int stored_width() const { return c.pruned ? c.width / 2 : c.width; }
  std::size_t row_of(int head, int row) const { return static_cast<std::size_t>(head) * q_padded() + row; }

  reference::Region region(int block) const {
    sale::Problem problem;
    problem.causal = c.causal;
    problem.sliding_window = c.sliding_window;
    Policy policy;
    policy.block_q = c.block_q;
    policy.block_k = c.block_k;
    policy.sink = c.sink;
    policy.window = c.window;
    return reference::region_of(policy, problem, {1, c.q_len, c.kv_len}, block);
  }

  /// D of a pair.
  int product(int head, int row, int key) const {
    const int *a = q.data() + row_of(head, row) * stored_width();
    const int *b = k.data() + (static_cast<std::size_t>(head / c.gqa) * c.kv_len + key) * c.width;
    int sum = 0;
    for (int i = 0; i < stored_width(); ++i) {
      sum += a[i] * b[c.pruned ? i / 2 * 4 + position(head, row, i) : i];
    }
    return sum;
  }

  bool keeps(int head, int row, int key) const {
    const std::size_t group = static_cast<std::size_t>(head / c.gqa) * scales_per_head() + key / 32;
    const double scale = group == nan_scale ? std::nan("") : std::ldexp(1.0, scale_exponent[group]);
    if (c.int8) {
      return !(product(head, row, key) * scale <= theta[row_of(head, row)]);
    }
    return !(product(head, row, key) - round_down_to_f16(theta[row_of(head, row)]) * scale < 0);
  }

  std::vector<std::uint32_t> expected_mask() const {
    std::vector<std::uint32_t> mask(static_cast<std::size_t>(q_heads()) * q_blocks() * mask_words(), 0);
    for (int head = 0; head < q_heads(); ++head) {
      for (int block = 0; block < q_blocks(); ++block) {
        std::uint32_t *row = mask.data() + (static_cast<std::size_t>(head) * q_blocks() + block) * mask_words();
        const reference::Region of = region(block);
        for (int at = of.first_visible; at < of.visible_blocks; ++at) {
          if (!of.estimated(at) || kept(head, block, at)) {
            row[at / 32] |= 1U << at % 32;
          }
        }
      }
    }
    return mask;
  }

  /// The metadata words of SelectWgmmaArgs.
  std::vector<std::uint32_t> metadata() const {
    std::vector<std::uint32_t> words;
    for (int tile = 0; tile < q_heads() * q_padded() / 64; ++tile) {
      for (int step = 0; step < c.width / 64; ++step) {
        for (int thread = 0; thread < 128; ++thread) {
          const int lane = thread % 32;
          const int row = tile * 64 + thread / 32 * 16 + lane / 4 + lane % 2 * 8;
          std::uint32_t word = 0;
          for (int group = 0; group < 8; ++group) {
            const auto &pair = pairs[static_cast<std::size_t>(
                patterns[static_cast<std::size_t>(row) * c.width / 4 + step * 16 + lane / 2 % 2 * 8 + group])];
            word |= static_cast<std::uint32_t>(pair[0] | pair[1] << 2) << 4 * group;
          }
          words.push_back(word);
        }
      }
    }
    return words;
  }

  SelectWgmmaCase c;
  std::vector<int> q;              ///< [q_heads, q_padded, stored_width]
  std::vector<int> k;              ///< [all_kv_heads, kv_len, width]
  std::vector<int> patterns;       ///< Of every four channels of Q: which pair is stored.
  std::vector<int> scale_exponent; ///< [all_kv_heads, scales_per_head]
  std::size_t nan_scale = ~std::size_t{0};
  std::vector<float> theta; ///< [q_heads, q_padded]
  std::vector<float> tau;   ///< [num_q_heads]

private:
  static constexpr std::array<std::array<int, 2>, 6> pairs = {{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}};

  int position(int head, int row, int i) const {
    return pairs[static_cast<std::size_t>(patterns[row_of(head, row) * c.width / 4 + i / 2])]
                [static_cast<std::size_t>(i % 2)];
  }

  // One row in eight decides: its threshold is one of the largest of its estimates, or so little off that f16 has no
  // number between, but nearer to the next f16.
  void draw_thresholds() {
    std::uniform_int_distribution<std::size_t> rank(0, 3);
    std::uniform_int_distribution<int> off(-1, 1);
    theta.assign(static_cast<std::size_t>(q_heads()) * q_padded(), infinity);
    for (int head = 0; head < q_heads(); ++head) {
      for (int row = 0; row < c.q_len; ++row) {
        const reference::Region of = region(row / c.block_q);
        if (random_() % 8 != 0 || of.estimated_count() == 0) {
          continue;
        }
        std::vector<float> estimates;
        for (int key = 0; key < c.kv_len; ++key) {
          if (!of.estimated(key / c.block_k)) {
            continue;
          }
          const std::size_t group = static_cast<std::size_t>(head / c.gqa) * scales_per_head() + key / 32;
          const int exponent = c.int8 ? scale_exponent[group] : -scale_exponent[group];
          estimates.push_back(std::ldexp(static_cast<float>(product(head, row, key)), exponent));
        }
        const std::size_t nth = std::min(rank(random_), estimates.size() - 1);
        std::partial_sort(estimates.begin(), estimates.begin() + static_cast<std::ptrdiff_t>(nth) + 1, estimates.end(),
                          std::greater<>());
        const float estimate = estimates[nth];
        const int exponent = std::max(std::ilogb(estimate), -14);
        theta[row_of(head, row)] = estimate + std::ldexp(0.75F * static_cast<float>(off(random_)), exponent - 10);
      }
    }
  }

  bool kept(int head, int block, int at) const {
    if (tau[static_cast<std::size_t>(head % (c.gqa * c.kv_heads))] == 0) {
      return true;
    }
    for (int row = block * c.block_q; row < std::min((block + 1) * c.block_q, c.q_len); ++row) {
      for (int key = at * c.block_k; key < (at + 1) * c.block_k; ++key) {
        if (keeps(head, row, key)) {
          return true;
        }
      }
    }
    return false;
  }

  std::mt19937 random_;
};

std::vector<std::uint8_t> codes(const std::vector<int> &values, bool int8) {
  std::vector<std::uint8_t> result;
  std::transform(values.begin(), values.end(), std::back_inserter(result),
                 [int8](int value) { return code(value, int8); });
  return result;
}

// Powers of two: an f16 twice, whose bits are those of the exponent, or for int8 an fp32.
std::vector<std::uint32_t> scale_words(const Problem &problem) {
  std::vector<std::uint32_t> words;
  if (problem.c.int8) {
    std::transform(problem.scale_exponent.begin(), problem.scale_exponent.end(), std::back_inserter(words),
                   [](int exponent) { return static_cast<std::uint32_t>(exponent + 127) << 23; });
    return words;
  }
  for (std::size_t i = 0; i < problem.scale_exponent.size(); ++i) {
    const auto half =
        i == problem.nan_scale ? 0x7fffU : static_cast<std::uint32_t>(problem.scale_exponent[i] + 15) << 10;
    words.push_back(half | half << 16);
  }
  return words;
}

std::vector<std::uint32_t> run(const Problem &problem) {
  const SelectWgmmaCase &c = problem.c;
  Device &device = Device::get();
  const KernelSpec spec = spec_of(c);
  const auto k = device.upload(codes(problem.k, c.int8));
  const auto q = device.upload(codes(problem.q, c.int8));
  const auto metadata = device.upload(c.pruned ? problem.metadata() : std::vector<std::uint32_t>(1));
  const auto scales = device.upload(scale_words(problem));
  const auto theta = device.upload(problem.theta);
  const auto tau = device.upload(problem.tau);
  const auto next = device.upload(std::vector<std::uint32_t>(1, 0));
  const auto mask =
      device.allocate(static_cast<std::size_t>(problem.q_heads()) * problem.q_blocks() * problem.mask_words() * 4);
  const int box_bytes = c.width % 128 == 0 ? 128 : c.width % 64 == 0 ? 64 : 32;
  const TensorMap map = device.tensor_map(*k, {.heads = problem.all_kv_heads(),
                                               .rows = c.kv_len,
                                               .channels = c.width,
                                               .element_bytes = 1,
                                               .box_channels = box_bytes,
                                               .box_rows = c.keys_per_step});
  SelectWgmmaArgs args{};
  std::memcpy(&args.k_codes, &map, sizeof map);
  args.q_codes = q->as<unsigned char>();
  args.q_metadata = metadata->as<unsigned>();
  args.k_scales = scales->as<unsigned>();
  args.theta = theta->as<float>();
  args.tau = tau->as<float>();
  args.mask = mask->as<unsigned>();
  args.next_item = c.drawn ? next->as<unsigned>() : nullptr;
  args.batch = c.batch;
  args.num_q_heads = c.gqa * c.kv_heads;
  args.q_len = c.q_len;
  args.kv_len = c.kv_len;
  args.sink = c.sink;
  args.window = c.window;
  args.sliding_window = c.sliding_window;
  args.mask_words = problem.mask_words();
  device.run(generate(spec), "sale_select", {2, 1}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});
  return mask->read<std::uint32_t>();
}

class SelectWgmma : public KernelTest, public ::testing::WithParamInterface<SelectWgmmaCase> {};

TEST_P(SelectWgmma, SetsTheBitsOfPlainLoopsInAnyOrderOfThreads) {
  const Problem problem(GetParam());
  const std::vector<std::uint32_t> expected = problem.expected_mask();
  for (const unsigned long long seed : schedules) {
    Device::get().set_schedule(seed);
    EXPECT_EQ(run(problem), expected) << "schedule " << seed;
  }
}

class SelectWgmmaCode : public ::testing::TestWithParam<SelectWgmmaCase> {};

TEST_P(SelectWgmmaCode, IsGoodOnHopper) { expect_good_hopper_code(generate(spec_of(GetParam()))); }

const auto cases = ::testing::Values(
    SelectWgmmaCase{.width = 128, .q_len = 192, .kv_len = 500},
    SelectWgmmaCase{.width = 64, .q_len = 200, .kv_len = 1300, .gqa = 3, .batch = 2, .sink = 40},
    SelectWgmmaCase{.width = 32, .q_len = 130, .kv_len = 450, .gqa = 2, .block_q = 128, .drawn = false},
    // Keys are estimated that some of an item's blocks do not see.
    SelectWgmmaCase{.width = 96, .q_len = 250, .kv_len = 700, .gqa = 1, .block_k = 64, .sink = 0, .window = 0},
    SelectWgmmaCase{.width = 256, .q_len = 100, .kv_len = 420, .gqa = 1, .block_k = 128},
    SelectWgmmaCase{.width = 192, .q_len = 260, .kv_len = 400, .gqa = 7, .block_q = 128, .kv_heads = 1, .consumers = 2},
    SelectWgmmaCase{.width = 160, .q_len = 65, .kv_len = 333, .gqa = 5, .kv_heads = 1, .consumers = 3, .stages = 3},
    SelectWgmmaCase{.width = 64, .q_len = 64, .kv_len = 1500, .gqa = 4, .keys_per_step = 256},
    // The head has scales for half of the last tile, which is the first in its stage.
    SelectWgmmaCase{.width = 64,
                    .q_len = 64,
                    .kv_len = 1400,
                    .gqa = 3,
                    .pruned = true,
                    .units = 2,
                    .keys_per_step = 256,
                    .stages = 6,
                    .window = 0},
    SelectWgmmaCase{.width = 128, .q_len = 128, .kv_len = 600, .pruned = true},
    SelectWgmmaCase{.width = 64, .q_len = 70, .kv_len = 700, .gqa = 1, .pruned = true, .consumers = 1},
    SelectWgmmaCase{.width = 256, .q_len = 64, .kv_len = 300, .gqa = 2, .pruned = true},
    SelectWgmmaCase{.width = 128, .q_len = 230, .kv_len = 600, .gqa = 4, .units = 2},
    SelectWgmmaCase{.width = 128, .q_len = 330, .kv_len = 500, .gqa = 3, .block_q = 128, .consumers = 3, .units = 2},
    SelectWgmmaCase{.width = 64, .q_len = 200, .kv_len = 400, .gqa = 1, .block_q = 128, .consumers = 2, .units = 4},
    SelectWgmmaCase{.width = 128, .q_len = 150, .kv_len = 650, .gqa = 4, .int8 = true},
    SelectWgmmaCase{
        .width = 64, .q_len = 200, .kv_len = 455, .gqa = 3, .block_q = 128, .block_k = 64, .int8 = true, .units = 2},
    // The last tile has more groups of keys than the head.
    SelectWgmmaCase{.width = 256,
                    .q_len = 40,
                    .kv_len = 330,
                    .gqa = 2,
                    .batch = 2,
                    .int8 = true,
                    .consumers = 2,
                    .units = 2,
                    .window = 0});
INSTANTIATE_TEST_SUITE_P(Cases, SelectWgmma, cases);
INSTANTIATE_TEST_SUITE_P(Cases, SelectWgmmaCode, cases);

const auto sliding_cases = ::testing::Values(
    // An item has far more units than there are query blocks.
    SelectWgmmaCase{
        .width = 64, .q_len = 64, .kv_len = 64, .gqa = 1, .units = 2, .sink = 0, .window = 0, .sliding_window = 100},
    // Nothing is estimated, though some blocks' ranges begin before others' end.
    SelectWgmmaCase{.width = 64, .q_len = 300, .kv_len = 900, .gqa = 1, .window = 0, .sliding_window = 1},
    SelectWgmmaCase{.width = 128, .q_len = 192, .kv_len = 500, .window = 100, .sliding_window = 31},
    SelectWgmmaCase{.width = 64, .q_len = 330, .kv_len = 1300, .gqa = 1, .batch = 2, .sink = 40, .sliding_window = 700},
    // The first tile of an item is not the first of its mask word, and an item has blocks of two words.
    SelectWgmmaCase{.width = 32,
                    .q_len = 600,
                    .kv_len = 2300,
                    .gqa = 2,
                    .block_q = 128,
                    .kv_heads = 1,
                    .drawn = false,
                    .sliding_window = 900},
    SelectWgmmaCase{.width = 96,
                    .q_len = 777,
                    .kv_len = 777,
                    .gqa = 1,
                    .block_k = 64,
                    .sink = 0,
                    .window = 0,
                    .sliding_window = 300},
    SelectWgmmaCase{
        .width = 256, .q_len = 400, .kv_len = 720, .gqa = 1, .block_k = 128, .window = 31, .sliding_window = 450},
    SelectWgmmaCase{.width = 64,
                    .q_len = 350,
                    .kv_len = 1400,
                    .gqa = 3,
                    .pruned = true,
                    .units = 2,
                    .keys_per_step = 256,
                    .stages = 6,
                    .window = 0,
                    .sliding_window = 513},
    SelectWgmmaCase{.width = 64,
                    .q_len = 500,
                    .kv_len = 800,
                    .gqa = 1,
                    .block_q = 128,
                    .consumers = 2,
                    .units = 4,
                    .sliding_window = 256},
    SelectWgmmaCase{.width = 64,
                    .q_len = 200,
                    .kv_len = 855,
                    .gqa = 3,
                    .block_q = 128,
                    .block_k = 64,
                    .int8 = true,
                    .units = 2,
                    .sliding_window = 420},
    SelectWgmmaCase{.width = 128, .q_len = 150, .kv_len = 650, .gqa = 4, .int8 = true, .sliding_window = 4096});
INSTANTIATE_TEST_SUITE_P(SlidingWindow, SelectWgmma, sliding_cases);
INSTANTIATE_TEST_SUITE_P(SlidingWindow, SelectWgmmaCode, sliding_cases);

const auto two_sided_cases = ::testing::Values(
    SelectWgmmaCase{.width = 128, .q_len = 192, .kv_len = 500, .causal = false},
    // More rows than keys, some before all keys.
    SelectWgmmaCase{
        .width = 64, .q_len = 700, .kv_len = 430, .gqa = 3, .batch = 2, .sink = 40, .window = 0, .causal = false},
    SelectWgmmaCase{.width = 32,
                    .q_len = 300,
                    .kv_len = 2300,
                    .gqa = 2,
                    .block_q = 128,
                    .kv_heads = 1,
                    .sink = 0,
                    .drawn = false,
                    .causal = false},
    SelectWgmmaCase{
        .width = 96, .q_len = 250, .kv_len = 701, .gqa = 1, .block_k = 64, .sink = 0, .window = 31, .causal = false},
    SelectWgmmaCase{.width = 256, .q_len = 100, .kv_len = 639, .gqa = 1, .block_k = 128, .window = 0, .causal = false},
    // Nothing is whole.
    SelectWgmmaCase{.width = 128, .q_len = 200, .kv_len = 31, .gqa = 2, .sink = 0, .causal = false},
    SelectWgmmaCase{.width = 64,
                    .q_len = 120,
                    .kv_len = 1400,
                    .gqa = 3,
                    .pruned = true,
                    .units = 2,
                    .keys_per_step = 256,
                    .stages = 6,
                    .window = 0,
                    .causal = false},
    SelectWgmmaCase{.width = 64,
                    .q_len = 500,
                    .kv_len = 800,
                    .gqa = 1,
                    .block_q = 128,
                    .consumers = 2,
                    .units = 4,
                    .causal = false},
    SelectWgmmaCase{.width = 64,
                    .q_len = 200,
                    .kv_len = 455,
                    .gqa = 3,
                    .block_q = 128,
                    .block_k = 64,
                    .int8 = true,
                    .units = 2,
                    .causal = false},
    SelectWgmmaCase{.width = 256,
                    .q_len = 400,
                    .kv_len = 330,
                    .gqa = 2,
                    .int8 = true,
                    .consumers = 2,
                    .units = 2,
                    .sink = 0,
                    .window = 0,
                    .causal = false});
INSTANTIATE_TEST_SUITE_P(AllKeys, SelectWgmma, two_sided_cases);
INSTANTIATE_TEST_SUITE_P(AllKeys, SelectWgmmaCode, two_sided_cases);

using SelectWgmmaRules = KernelTest;

TEST_F(SelectWgmmaRules, AHeadOfTauZeroKeepsAllThatItSees) {
  Problem problem({.q_len = 200, .kv_len = 600, .gqa = 3});
  problem.theta.assign(problem.theta.size(), infinity);
  problem.theta[problem.row_of(1, 70)] = -infinity; // of a head that estimates, between two that do not
  problem.tau = {0, 0.004F, 0, 0, 0, 0};
  EXPECT_EQ(run(problem), problem.expected_mask());
}

TEST_F(SelectWgmmaRules, AHeadOfTauZeroKeepsNothingThatItDoesNotSee) {
  for (const SelectWgmmaCase &c : {SelectWgmmaCase{.q_len = 200, .kv_len = 600, .gqa = 2, .sliding_window = 300},
                                   SelectWgmmaCase{.q_len = 200, .kv_len = 150, .gqa = 2, .causal = false}}) {
    Problem problem(c);
    problem.tau = {0, 0.004F, 0, 0};
    EXPECT_EQ(run(problem), problem.expected_mask());
  }
}

TEST_F(SelectWgmmaRules, ANanThresholdKeepsWhatItsRowSees) {
  Problem problem({.q_len = 70, .kv_len = 500});
  problem.theta[problem.row_of(3, 66)] = std::nanf("");
  EXPECT_EQ(run(problem), problem.expected_mask());
}

TEST_F(SelectWgmmaRules, ANanScaleKeepsItsKeysForEveryHeadOfTheGroup) {
  Problem problem({.q_len = 70, .kv_len = 500});
  problem.theta.assign(problem.theta.size(), infinity);
  problem.nan_scale = static_cast<std::size_t>(problem.scales_per_head() + 5);
  EXPECT_EQ(run(problem), problem.expected_mask());
}

// Two warpgroups share blocks of 128 rows. The last block has rows of the first one only: the second one is at another
// block before the first has written the mask there.
TEST_F(SelectWgmmaRules, AWarpgroupThatIsAheadWaitsForTheMaskThatItAddsTo) {
  Problem problem({.q_len = 310,
                   .kv_len = 438,
                   .gqa = 1,
                   .block_q = 128,
                   .kv_heads = 8,
                   .consumers = 2,
                   .stages = 6,
                   .window = 0,
                   .drawn = false});
  problem.theta.assign(problem.theta.size(), infinity);
  for (int head = 0; head < problem.q_heads(); ++head) {
    problem.theta[problem.row_of(head, 100)] = -infinity;
    problem.theta[problem.row_of(head, 228)] = -infinity;
  }
  for (const unsigned long long seed : schedules) {
    Device::get().set_schedule(seed);
    EXPECT_EQ(run(problem), problem.expected_mask()) << "schedule " << seed;
  }
}

TEST_F(SelectWgmmaRules, ThresholdsAreRoundedDown) {
  Problem problem({.q_len = 64, .kv_len = 500, .gqa = 1});
  const std::array<float, 12> thresholds = {-infinity, -70000, -65504,   -65503,  -100.03F, -0x1p-30F,
                                            -0.0F,     0,      0x1p-30F, 100.03F, 65519,    1e20F};
  for (std::size_t i = 0; i < thresholds.size(); ++i) {
    problem.theta.assign(problem.theta.size(), infinity);
    problem.theta[problem.row_of(0, 20)] = thresholds[i];
    EXPECT_EQ(run(problem), problem.expected_mask()) << thresholds[i];
  }
}

} // namespace
} // namespace sale::test
