// SPDX-License-Identifier: Apache-2.0
// libsale's attend in e4m3 against the oracle, which rounds nothing but its operands (docs/numerics.md, section 14):
// codes of keys are the oracle's, those of values the values kernel's.
#include "tests/emulator/kernels/kernel_test.hpp"

#include "args/attend_wgmma_args.cuh"
#include "args/values_args.cuh"
#include "generator/generate.hpp"
#include "reference/attend_fp8.hpp"
#include "reference/channels.hpp"
#include "reference/element.hpp"
#include "reference/means.hpp"
#include "reference/quantize_fp8.hpp"
#include "reference/second_filter.hpp"
#include "reference/synthetic.hpp"
#include "runtime/tensor_maps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <tuple>

namespace sale::test {
namespace {

using reference::ceil_div;

constexpr int sink = 32;
constexpr int window = 64;

struct Case {
  const char *name;
  int head_dim = 128;
  int q_len = 130;
  int kv_len = 300;
  int block_q = 64;
  int block_k = 32;
  double kept[2] = {0.5, 0.5}; ///< Of even and of odd query blocks.
  int keys_per_step = 128;
  int stages = 3;
  bool dense = false;
  int consumers = 2;
  int heads = 2;
  int gqa = 1;
  unsigned ctas = 1;
  bool dynamic = false;
  DType dtype = DType::bf16;
  bool wants_lse = true;
  float uneven_values = 1; ///< Values of every other 32 keys are larger by this.
  bool filtered = false;   ///< By thresholds that few blocks exceed.
  int jump = 0;            ///< From this key on scores are higher by jump_size² · softmax_scale.
  float jump_size = 24;
  double largest_error = 4e-2; ///< Of the output in L2, relative.
  int sliding_window = 0;
  bool causal = true;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

KernelSpec spec_of(const Case &c) {
  KernelSpec spec;
  spec.stage = Stage::attend;
  spec.arch = {9, 0, true};
  spec.dtype = c.dtype;
  spec.head_dim = c.head_dim;
  spec.gqa = c.gqa;
  spec.block_q = c.block_q;
  spec.block_k = c.block_k;
  spec.dense = c.dense;
  spec.fp8_attend = true;
  spec.second_filter = c.filtered;
  spec.sliding = c.sliding_window != 0;
  spec.causal = c.causal;
  spec.tile = {.rows_per_warp = 16,
               .warps = 4 * c.consumers,
               .keys_per_step = c.keys_per_step,
               .stages = c.stages,
               .min_ctas = 1};
  return spec;
}

// What attend reads in place of K and V.
struct Operands {
  std::unique_ptr<DeviceBuffer> k_codes, v_codes, scales, v_amax, kbar;
};

Operands encode(const Case &c, const reference::Tensors &tensors, const std::vector<float> &kbar,
                const DeviceBuffer &v) {
  Device &device = Device::get();
  Policy policy;
  policy.estimator = Estimator::fp8;
  const auto keys =
      reference::quantize_keys_fp8(tensors, policy, kbar, reference::choose_channels(tensors, policy, kbar));
  const int kv_heads = tensors.num_kv_heads;
  const int groups = ceil_div(c.kv_len, 32);
  const int blocks = ceil_div(groups, 4) * 4;
  std::vector<std::uint32_t> words(std::size_t{1} * kv_heads * blocks, 0);
  for (int i = 0; i < kv_heads * groups; ++i) {
    words[i / groups * blocks + i % groups] =
        reference::float_to_f16(keys.scales[static_cast<std::size_t>(i)]) * 0x10001U;
  }
  Operands operands;
  operands.k_codes = device.upload(keys.codes);
  operands.kbar = device.upload(kbar);
  const std::size_t all_blocks = words.size();
  operands.v_codes = device.allocate(all_blocks * 32 * static_cast<std::size_t>(c.head_dim));
  operands.scales = device.allocate(all_blocks * 16);
  const auto k_scales = device.upload(words);
  std::vector<float> amax(static_cast<std::size_t>(kv_heads), 0.0F);
  for (std::size_t i = 0; i < tensors.v.size(); ++i) {
    float &largest = amax[i / (tensors.v.size() / amax.size())];
    largest = std::max(largest, std::fabs(tensors.v[i]));
  }
  operands.v_amax = device.upload(amax);
  ValuesArgs args{};
  args.v = {v.as<void>(), 0, static_cast<long long>(c.kv_len) * c.head_dim, c.head_dim};
  args.k_scales = k_scales->as<unsigned>();
  args.amax = operands.v_amax->as<unsigned>();
  args.codes = operands.v_codes->as<unsigned char>();
  args.scales = operands.scales->as<unsigned>();
  args.num_kv_heads = kv_heads;
  args.kv_len = c.kv_len;
  KernelSpec spec = spec_of(c);
  spec.stage = Stage::values;
  spec.tile = default_tile(spec);
  device.run(generate(spec), spec.entry_name().c_str(),
             {static_cast<unsigned>(blocks), static_cast<unsigned>(kv_heads)}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});
  return operands;
}

reference::Mask random_mask(const Case &c, const Shape &shape) {
  std::mt19937 random(static_cast<unsigned>(c.q_len * 1000 + c.kv_len));
  reference::Mask mask(shape, c.heads, c.block_q, c.block_k);
  for (int h = 0; h < c.heads; ++h) {
    for (int m = 0; m < mask.q_blocks(); ++m) {
      std::bernoulli_distribution keep(c.kept[m % 2]);
      for (int j = 0; j < mask.k_blocks(); ++j) { // those that nobody sees too
        mask.set(0, h, m, j, keep(random));
      }
    }
  }
  return mask;
}

// q . kbar of every row.
std::vector<float> along_mean(const reference::Tensors &tensors, const std::vector<float> &kbar) {
  const std::vector<float> none(tensors.q_rows(), 0.0F);
  std::vector<float> result = reference::fp8_filter_thresholds(tensors, kbar, none);
  std::transform(result.begin(), result.end(), result.begin(), std::negate<>());
  return result;
}

// T of the rows: of the keys outside the reference region one row in 16 has one above, the others none.
std::vector<float> few_thresholds(const reference::Tensors &operands, const std::vector<float> &offsets) {
  const int end = operands.position(0) - window;
  std::vector<float> thresholds(operands.q_rows(), 1e30F);
  for (int h = 0; h < operands.num_q_heads; ++h) {
    // 0, 24, 32, 56, ...: of both rows of a lane.
    for (int i = 0; i < operands.shape.q_len; i += i % 32 == 0 ? 24 : 8) {
      float two[2] = {-1e30F, -1e30F};
      for (int j = 2 * sink; j < end; ++j) {
        const float *q = operands.query(0, h, i);
        const float x = std::inner_product(q, q + operands.head_dim, operands.key(0, operands.kv_head(h), j), 0.0F);
        two[1] = std::max(two[1], std::min(x, two[0]));
        two[0] = std::max(two[0], x);
      }
      const std::size_t row = operands.q_row(0, h, i);
      thresholds[row] = (two[0] + two[1]) / 2 + offsets[row];
    }
  }
  return thresholds;
}

void run_and_compare(const Case &c) {
  Problem problem;
  problem.dtype = c.dtype;
  problem.head_dim = c.head_dim;
  problem.num_q_heads = c.heads;
  problem.num_kv_heads = c.heads / c.gqa;
  problem.sliding_window = c.sliding_window;
  problem.causal = c.causal;
  const Shape shape{1, c.q_len, c.kv_len};
  reference::Tensors tensors = reference::structured(problem, shape, 7);
  for (std::size_t row = 0; row < tensors.kv_rows(); ++row) {
    if (row % static_cast<std::size_t>(c.kv_len) / 32 % 2 == 1) {
      const auto dim = static_cast<std::size_t>(c.head_dim);
      std::for_each_n(tensors.v.begin() + static_cast<std::ptrdiff_t>(row * dim), dim,
                      [&](float &x) { x *= c.uneven_values; });
    }
  }
  if (c.jump != 0) { // carried by channel 0
    for (std::size_t row = 0; row < tensors.q_rows(); ++row) {
      tensors.q[row * static_cast<std::size_t>(c.head_dim)] = c.jump_size;
    }
    for (std::size_t row = 0; row < tensors.kv_rows(); ++row) {
      tensors.k[row * static_cast<std::size_t>(c.head_dim)] =
          row % static_cast<std::size_t>(c.kv_len) < static_cast<std::size_t>(c.jump) ? 0.0F : c.jump_size;
    }
  }
  std::vector<float> kbar = reference::mean_keys(tensors);
  if (c.filtered) { // any vector will do; the filter has to add what it takes from the scores
    std::transform(kbar.begin(), kbar.end(), kbar.begin(), [](float x) { return x + 0.5F; });
  }
  const reference::Mask bits = random_mask(c, shape);
  const float scale = effective_softmax_scale(problem);

  Device &device = Device::get();
  const KernelSpec spec = spec_of(c);
  const auto q = device.upload(reference::to_elements(tensors.q, c.dtype));
  const auto v = device.upload(reference::to_elements(tensors.v, c.dtype));
  const Operands operands = encode(c, tensors, kbar, *v);
  const reference::Tensors rounded = reference::fp8_operands(tensors, kbar, scale);
  const std::vector<float> offsets = along_mean(tensors, kbar);
  const std::vector<float> thresholds = few_thresholds(rounded, offsets);
  const int q_padded = ceil_div(c.q_len, 128) * 128;
  std::vector<float> padded(static_cast<std::size_t>(c.heads * q_padded), INFINITY);
  for (int h = 0; h < c.heads; ++h) {
    std::copy_n(thresholds.begin() + static_cast<std::ptrdiff_t>(h) * c.q_len, c.q_len,
                padded.begin() + static_cast<std::ptrdiff_t>(h) * q_padded);
  }
  const auto threshold = device.upload(padded);
  const auto mask = device.upload(bits.words());
  const auto next_item = device.upload(std::vector<std::uint32_t>{0});
  const auto out = device.allocate(tensors.q.size() * 2);
  const auto lse = device.allocate(tensors.q_rows() * 4);
  AttendWgmmaArgs args{};
  args.q = map_tensor(device.driver(), packed_view(q->as<void>(), c.heads, c.q_len, c.head_dim), c.dtype, 1, c.heads,
                      c.q_len, c.head_dim, 64);
  args.k = map_codes(device.driver(), operands.k_codes->as<void>(), tensors.num_kv_heads, c.kv_len, c.head_dim,
                     spec.keys_per_copy());
  args.v_codes = operands.v_codes->as<unsigned char>();
  args.scales = operands.scales->as<unsigned>();
  args.v_amax = operands.v_amax->as<unsigned>();
  args.kbar = operands.kbar->as<float>();
  args.out = {out->as<void>(), 0, static_cast<long long>(c.q_len) * c.head_dim, c.head_dim};
  args.lse = c.wants_lse ? lse->as<float>() : nullptr;
  args.mask = mask->as<unsigned>();
  args.next_item = c.dynamic ? next_item->as<unsigned>() : nullptr;
  args.threshold = threshold->as<float>();
  args.sink = sink;
  args.window = window;
  args.batch = 1;
  args.num_q_heads = c.heads;
  args.q_len = c.q_len;
  args.kv_len = c.kv_len;
  args.mask_words = bits.words_per_row();
  args.softmax_scale = scale;
  args.sliding_window = c.sliding_window;
  device.run(generate(spec), spec.entry_name().c_str(), {c.ctas, 1}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});

  Policy policy;
  policy.block_q = c.block_q;
  policy.block_k = c.block_k;
  policy.sink = sink;
  policy.window = window;
  const std::vector<float> own_thresholds = reference::fp8_filter_thresholds(tensors, kbar, thresholds);
  reference::Attention expected =
      c.filtered ? reference::attend(rounded, scale,
                                     std::make_unique<reference::Mask>(
                                         reference::second_filter(rounded, policy, &bits, own_thresholds))
                                         .get(),
                                     reference::filter_rows, reference::filter_keys)
                 : reference::attend(rounded, scale, c.dense ? nullptr : &bits, c.block_q, c.block_k);
  for (std::size_t row = 0; row < offsets.size(); ++row) {
    expected.lse[row] += scale * offsets[row];
  }
  const std::vector<float> got = reference::to_floats(out->read<std::uint16_t>(), c.dtype);
  const std::vector<float> got_lse = lse->read<float>();
  float largest = 0;
  for (const float x : tensors.v) {
    largest = std::max(largest, std::abs(x));
  }
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected.out[i], largest / 16) << "element " << i;
    error += std::pow(static_cast<double>(got[i]) - expected.out[i], 2);
    size += std::pow(static_cast<double>(expected.out[i]), 2);
  }
  EXPECT_LE(error, c.largest_error * c.largest_error * size);
  const double lse_bound = reference::fp8_lse_bound + reference::fp8_score_bound(tensors, kbar, scale) * scale;
  for (std::size_t i = 0; i < got_lse.size() && c.wants_lse; ++i) {
    if (std::isinf(expected.lse[i])) {
      ASSERT_EQ(got_lse[i], expected.lse[i]) << "row " << i;
    } else {
      ASSERT_NEAR(got_lse[i], expected.lse[i], lse_bound) << "row " << i;
    }
  }
}

class AttendFp8 : public KernelTest, public ::testing::WithParamInterface<Case> {};

TEST_P(AttendFp8, IsNearTheOracleInAnyOrderOfThreads) {
  for (const unsigned long long seed : schedules) {
    Device::get().set_schedule(seed);
    ASSERT_NO_FATAL_FAILURE(run_and_compare(GetParam())) << "schedule " << seed;
  }
}

class AttendFp8Code : public ::testing::TestWithParam<Case> {};

TEST_P(AttendFp8Code, IsGoodOnHopper) { expect_good_hopper_code(generate(spec_of(GetParam()))); }

std::string name_of(const ::testing::TestParamInfo<Case> &info) { return info.param.name; }

const auto cases = ::testing::Values(
    Case{.name = "half_kept"}, Case{.name = "nothing_kept", .kept = {0, 0}},
    Case{.name = "all_kept_f16", .kept = {1, 1}, .dtype = DType::f16},
    Case{.name = "only_the_second_block_keeps", .q_len = 128, .kv_len = 700, .kept = {0, 1}},
    Case{.name = "a_few_of_the_first_many_of_the_second", .q_len = 128, .kv_len = 900, .kept = {0.1, 0.9}, .stages = 2},
    Case{.name = "no_second_block", .q_len = 63, .kv_len = 400, .wants_lse = false},
    Case{.name = "one_token", .q_len = 1, .kv_len = 65, .kept = {1, 1}},
    Case{.name = "narrow_rows", .head_dim = 64, .q_len = 200, .kv_len = 610},
    Case{.name = "three_granules_a_tile", .q_len = 200, .kv_len = 610, .keys_per_step = 96},
    Case{.name = "blocks_of_four_granules", .q_len = 250, .kv_len = 700, .block_q = 128, .block_k = 128},
    Case{.name = "wide_rows", .head_dim = 256, .q_len = 100, .kv_len = 200, .keys_per_step = 64, .dtype = DType::f16},
    Case{.name = "uneven_values", .q_len = 100, .kv_len = 500, .kept = {0.7, 0.7}, .uneven_values = 50},
    Case{.name = "zero_values", .q_len = 100, .kv_len = 500, .kept = {0.7, 0.7}, .uneven_values = 0},
    Case{.name = "a_jump", .q_len = 300, .kv_len = 500, .kept = {0.9, 0.9}, .jump = 190},
    Case{.name = "a_jump_past_steps_of_one",
         .q_len = 300,
         .kv_len = 500,
         .kept = {0.9, 0.9},
         .jump = 190,
         .jump_size = 64,
         .largest_error = 0.2},
    Case{.name = "a_jump_in_narrow_rows", .head_dim = 64, .q_len = 300, .kv_len = 500, .dense = true, .jump = 301},
    Case{.name = "a_jump_in_wide_rows",
         .head_dim = 256,
         .q_len = 100,
         .kv_len = 300,
         .keys_per_step = 64,
         .dense = true,
         .jump = 230},
    Case{.name = "filtered", .q_len = 200, .kv_len = 900, .kept = {0.8, 0.8}, .keys_per_step = 64, .filtered = true},
    Case{.name = "filtered_wide_rows",
         .head_dim = 256,
         .q_len = 100,
         .kv_len = 500,
         .block_k = 64,
         .kept = {0.9, 0.9},
         .keys_per_step = 64,
         .filtered = true},
    Case{.name = "shared_tiles_then_many_of_the_other",
         .q_len = 128,
         .kv_len = 1500,
         .kept = {0.3, 0.97},
         .stages = 2,
         .heads = 1},
    Case{
        .name = "many_tiles_of_the_other", .q_len = 128, .kv_len = 3000, .kept = {0.03, 0.97}, .stages = 2, .heads = 1},
    Case{.name = "groups", .q_len = 150, .kv_len = 260, .heads = 6, .gqa = 3, .ctas = 3},
    Case{.name = "drawn_items", .q_len = 300, .kv_len = 300, .heads = 4, .gqa = 2, .ctas = 3, .dynamic = true},
    Case{.name = "dense_chunk", .dense = true},
    Case{.name = "dense_square", .q_len = 300, .kv_len = 300, .dense = true, .ctas = 2},
    Case{.name = "dense_narrow_rows", .head_dim = 64, .q_len = 200, .kv_len = 333, .dense = true},
    Case{.name = "dense_wide_rows", .head_dim = 256, .q_len = 130, .kv_len = 130, .keys_per_step = 64, .dense = true},
    Case{.name = "own_key_only", .kept = {1, 1}, .sliding_window = 1},
    Case{.name = "window_of_a_tile", .q_len = 200, .kv_len = 610, .kept = {0.8, 0.6}, .sliding_window = 100},
    Case{.name = "window_of_no_whole_blocks",
         .head_dim = 256,
         .q_len = 250,
         .kv_len = 700,
         .block_q = 128,
         .block_k = 128,
         .kept = {0.9, 0.9},
         .keys_per_step = 64,
         .sliding_window = 31},
    Case{.name = "filtered_window",
         .q_len = 200,
         .kv_len = 900,
         .kept = {0.9, 0.8},
         .keys_per_step = 64,
         .filtered = true,
         .sliding_window = 500},
    Case{.name = "dense_window", .head_dim = 64, .q_len = 200, .kv_len = 333, .dense = true, .sliding_window = 64},
    Case{.name = "two_sided", .causal = false},
    Case{.name = "two_sided_filtered",
         .q_len = 150,
         .kv_len = 909,
         .kept = {0.9, 0.8},
         .keys_per_step = 64,
         .filtered = true,
         .causal = false},
    Case{.name = "two_sided_dense_more_queries_than_keys", .q_len = 290, .kv_len = 77, .dense = true, .causal = false},
    Case{.name = "two_sided_dense_narrow_rows",
         .head_dim = 64,
         .q_len = 130,
         .kv_len = 300,
         .dense = true,
         .causal = false});
INSTANTIATE_TEST_SUITE_P(Cases, AttendFp8, cases, name_of);
INSTANTIATE_TEST_SUITE_P(Cases, AttendFp8Code, cases, name_of);

class AttendFp8VariantCode : public ::testing::TestWithParam<std::tuple<int, bool, bool>> {};

TEST_P(AttendFp8VariantCode, OfDefaultTilesIsGoodOnHopper) {
  const auto [head_dim, filtered, sliding] = GetParam();
  KernelSpec spec = spec_of(Case{.name = "variant", .head_dim = head_dim, .filtered = filtered});
  spec.sliding = sliding;
  spec.causal = sliding;
  spec.tile = default_tile(spec);
  expect_good_hopper_code(generate(spec));
}

INSTANTIATE_TEST_SUITE_P(Kernels, AttendFp8VariantCode,
                         ::testing::Combine(::testing::Values(64, 128, 256), ::testing::Bool(), ::testing::Bool()));

} // namespace
} // namespace sale::test
