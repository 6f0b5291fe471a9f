// SPDX-License-Identifier: Apache-2.0
// libsale's prepare and mma.sync attend with sliding windows, softcap, learned sinks, values of fewer channels than
// keys and without causality, against the oracle.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/plain_attention.hpp"

#include "args/attend_args.cuh"
#include "args/prepare_args.cuh"
#include "generator/generate.hpp"
#include "reference/attend.hpp"
#include "reference/softcap.hpp"
#include "reference/thresholds.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sale::test {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

struct Case {
  const char *name;
  int q_len = 130;
  int kv_len = 300;
  int sliding_window = 0;
  bool causal = true;
  float softcap = 0;
  std::vector<float> sink_logits = {};
  int head_dim = 64;
  int block_q = 64;
  int block_k = 32;
  int batch = 1;
  float size = 1; ///< Of Q's values.
  float tau = 0.02F;
  int v_head_dim = 0; ///< 0 = head_dim.
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

constexpr int q_heads = 2;
constexpr float scale = 0.125F;

KernelSpec spec_of(const Case &c, Stage stage) {
  KernelSpec spec;
  spec.stage = stage;
  spec.arch = {8, 0};
  spec.head_dim = c.head_dim;
  spec.v_head_dim = c.v_head_dim;
  spec.gqa = q_heads;
  spec.estimator = Estimator::exact;
  spec.block_q = c.block_q;
  spec.block_k = c.block_k;
  spec.causal = c.causal;
  spec.sliding = c.sliding_window != 0;
  spec.softcap = c.softcap != 0.0F;
  spec.sink_logits = !c.sink_logits.empty();
  return spec;
}

// Fills with values of bf16, and returns them as such.
std::vector<std::uint16_t> draw(std::mt19937 &random, std::vector<float> &values, float size) {
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> codes(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    codes[i] = to_bf16(size * normal(random));
    values[i] = from_bf16(codes[i]);
  }
  return codes;
}

std::uint32_t round_up_to_128(int len) { return static_cast<std::uint32_t>((len + 127) / 128 * 128); }

class MmaVariants : public KernelTest, public ::testing::WithParamInterface<Case> {
protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    const Case &c = GetParam();
    Problem problem;
    problem.head_dim = c.head_dim;
    problem.v_head_dim = c.v_head_dim;
    problem.num_q_heads = q_heads;
    problem.num_kv_heads = 1;
    problem.causal = c.causal;
    problem.sliding_window = c.sliding_window;
    problem.softcap = c.softcap;
    problem.sink_logits = !c.sink_logits.empty();
    tensors = reference::make_tensors(problem, {c.batch, c.q_len, c.kv_len});
    tensors.sink_logits = c.sink_logits;
    std::mt19937 random(7);
    Device &device = Device::get();
    q = device.upload(draw(random, tensors.q, c.size));
    k = device.upload(draw(random, tensors.k, 1));
    v = device.upload(draw(random, tensors.v, 1));
    sinks = device.upload(c.sink_logits.empty() ? std::vector<float>(1) : c.sink_logits);
  }

  static TensorArg arg(const DeviceBuffer &buffer, int heads, int len, int channels) {
    const long long head = static_cast<long long>(len) * channels;
    return {buffer.as<void>(), heads * head, head, channels};
  }

  template <class Args>
  void set_variants(Args &args) const {
    const Case &c = GetParam();
    args.num_q_heads = q_heads;
    args.q_len = c.q_len;
    args.kv_len = c.kv_len;
    args.softmax_scale = scale;
    args.sliding_window = c.sliding_window;
    args.softcap = c.softcap;
    args.sink_logits = sinks->as<float>();
  }

  static void run(const KernelSpec &spec, const Grid &grid, void *args) {
    Device::get().run(generate(spec), spec.entry_name().c_str(), grid, static_cast<unsigned>(spec.threads()),
                      static_cast<unsigned>(spec.shared_memory()), {args});
  }

  struct Attended {
    std::vector<std::uint16_t> out;
    std::vector<float> lse;
  };

  Attended attend(KernelSpec spec, const reference::Mask *mask) const {
    const Case &c = GetParam();
    spec.dense = mask == nullptr;
    spec.tile = default_tile(spec);
    Device &device = Device::get();
    const auto bits = device.upload(mask == nullptr ? std::vector<std::uint32_t>(1) : mask->words());
    const int v_width = tensors.v_width();
    const auto out = device.allocate(tensors.q_rows() * static_cast<std::size_t>(v_width) * 2);
    const auto lse = device.allocate(tensors.q_rows() * 4);
    AttendArgs args{};
    set_variants(args);
    args.q = arg(*q, q_heads, c.q_len, c.head_dim);
    args.k = arg(*k, 1, c.kv_len, c.head_dim);
    args.v = arg(*v, 1, c.kv_len, v_width);
    args.out = arg(*out, q_heads, c.q_len, v_width);
    args.lse = lse->as<float>();
    args.mask = bits->as<unsigned>();
    args.mask_words = mask == nullptr ? 0 : mask->words_per_row();
    run(spec,
        {static_cast<unsigned>((c.q_len + spec.tile.rows() - 1) / spec.tile.rows()), q_heads,
         static_cast<unsigned>(c.batch)},
        &args);
    return {out->read<std::uint16_t>(), lse->read<float>()};
  }

  void attend_and_compare(const reference::Mask *mask) const {
    const Case &c = GetParam();
    const reference::Attention expected = reference::attend(tensors, scale, mask, c.block_q, c.block_k);
    const auto [got, got_lse] = attend(spec_of(c, Stage::attend), mask);
    for (std::size_t row = 0; row < tensors.q_rows(); ++row) {
      if (std::isinf(expected.lse[row])) {
        ASSERT_EQ(got_lse[row], expected.lse[row]) << "row " << row;
      } else {
        ASSERT_NEAR(got_lse[row], expected.lse[row], 1e-4) << "row " << row;
      }
    }
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(from_bf16(got[i]), expected.out[i], 0.02) << "element " << i;
    }
  }

  reference::Tensors tensors;
  std::unique_ptr<DeviceBuffer> q, k, v, sinks;
};

TEST_P(MmaVariants, AttendToEveryVisibleKeyAsTheOracle) { ASSERT_NO_FATAL_FAILURE(attend_and_compare(nullptr)); }

TEST_P(MmaVariants, AttendToKeptBlocksAsTheOracleWhateverBitsInvisibleBlocksHave) {
  const Case &c = GetParam();
  reference::Mask mask(c.batch, q_heads, reference::ceil_div(c.q_len, c.block_q),
                       reference::ceil_div(c.kv_len, c.block_k));
  std::mt19937 random(9);
  std::bernoulli_distribution keep(0.6);
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < q_heads; ++h) {
      for (int m = 0; m < mask.q_blocks(); ++m) {
        for (int n = 0; n < mask.k_blocks(); ++n) {
          if (keep(random)) {
            mask.set(b, h, m, n);
          }
        }
      }
    }
  }
  for (const unsigned long long seed : {0, 1}) {
    Device::get().set_schedule(seed);
    ASSERT_NO_FATAL_FAILURE(attend_and_compare(&mask)) << "schedule " << seed;
  }
}

TEST_P(MmaVariants, PrepareTheOraclesThresholds) {
  const Case &c = GetParam();
  KernelSpec spec = spec_of(c, Stage::prepare);
  spec.tile = default_tile(spec);
  Policy policy;
  policy.estimator = Estimator::exact;
  policy.block_q = c.block_q;
  policy.block_k = c.block_k;
  policy.sink = 40;
  policy.window = 50;
  policy.tau = c.tau;
  Device &device = Device::get();
  const std::uint32_t padded = round_up_to_128(c.q_len);
  const std::size_t rows = static_cast<std::size_t>(c.batch) * q_heads * padded;
  const auto tau = device.upload(std::vector<float>(q_heads, c.tau));
  const auto threshold = device.allocate(rows * 4);
  const auto theta = device.allocate(rows * 4);
  PrepareArgs args{};
  set_variants(args);
  args.q = arg(*q, q_heads, c.q_len, c.head_dim);
  args.k = arg(*k, 1, c.kv_len, c.head_dim);
  args.tau = tau->as<float>();
  args.threshold = threshold->as<float>();
  args.theta = theta->as<float>();
  args.sink = policy.sink;
  args.window = policy.window;
  const int heads = spec.tile.rows() / c.block_q;
  run(spec,
      {static_cast<unsigned>(reference::ceil_div(c.q_len, c.block_q)),
       static_cast<unsigned>((q_heads + heads - 1) / heads), static_cast<unsigned>(c.batch)},
      &args);

  const reference::Thresholds expected = reference::thresholds(tensors, policy, scale);
  const std::vector<float> got = threshold->read<float>();
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t i = row % padded;
    if (i >= static_cast<std::size_t>(c.q_len)) {
      ASSERT_EQ(got[row], inf) << "row " << row;
      continue;
    }
    const double t = expected.value[row / padded * static_cast<std::size_t>(c.q_len) + i];
    if (std::isinf(t)) {
      ASSERT_EQ(got[row], t) << "row " << row;
    } else { // in the frame of the cap, where errors do not grow
      ASSERT_NEAR(scale * reference::softcapped(tensors, scale, got[row]),
                  scale * reference::softcapped(tensors, scale, t), 1e-4)
          << "row " << row;
    }
  }
  EXPECT_EQ(theta->read<float>(), got);
}

const auto cases = ::testing::Values(
    Case{.name = "own_key_only", .sliding_window = 1}, //
    Case{.name = "window_31", .q_len = 200, .kv_len = 200, .sliding_window = 31},
    Case{.name = "window_64_large_blocks", .sliding_window = 64, .block_q = 128, .block_k = 128},
    Case{.name = "window_100_of_a_chunk", .q_len = 70, .kv_len = 401, .sliding_window = 100, .block_k = 64},
    Case{.name = "window_100_wide",
         .q_len = 129,
         .kv_len = 333,
         .sliding_window = 100,
         .head_dim = 128,
         .block_q = 128,
         .batch = 2},
    Case{.name = "window_beyond_all_keys", .sliding_window = 5000}, Case{.name = "sinks", .sink_logits = {0, 3}}, //
    Case{.name = "sinks_of_nothing_and_of_everything", .sliding_window = 40, .sink_logits = {-inf, 200}},
    Case{.name = "sinks_when_nothing_counts", .sink_logits = {30, -30}, .tau = 0},
    Case{.name = "cap_1", .softcap = 1, .size = 4}, //
    Case{
        .name = "cap_5_and_all", .sliding_window = 77, .softcap = 5, .sink_logits = {1, 2}, .head_dim = 128, .size = 4},
    Case{.name = "cap_50_wide", .softcap = 50, .head_dim = 256, .size = 8},
    Case{.name = "cap_beyond_reach", .softcap = 1000},
    Case{.name = "cap_that_no_score_reaches", .softcap = 5, .tau = 100}, Case{.name = "both_sides", .causal = false}, //
    Case{.name = "both_sides_few_keys", .q_len = 200, .kv_len = 70, .causal = false},
    Case{.name = "both_sides_one_key", .q_len = 65, .kv_len = 1, .causal = false, .block_k = 128},
    Case{.name = "both_sides_large_blocks",
         .q_len = 300,
         .kv_len = 700,
         .causal = false,
         .softcap = 5,
         .sink_logits = {1, 2},
         .head_dim = 128,
         .block_q = 128,
         .block_k = 64,
         .batch = 2},
    Case{.name = "head_dim_192", .q_len = 129, .kv_len = 333, .head_dim = 192, .block_q = 128},
    Case{.name = "fewer_values",
         .q_len = 70,
         .kv_len = 301,
         .sliding_window = 100,
         .head_dim = 192,
         .block_k = 64,
         .batch = 2,
         .v_head_dim = 128});
std::string name_of(const ::testing::TestParamInfo<Case> &info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Cases, MmaVariants, cases, name_of);

class MmaVariantsWithoutEffect : public MmaVariants {};

TEST_P(MmaVariantsWithoutEffect, AttendBitForBitAsPlainKernels) {
  KernelSpec plain = spec_of(GetParam(), Stage::attend);
  plain.sliding = plain.sink_logits = false;
  const Attended expected = attend(plain, nullptr);
  const Attended got = attend(spec_of(GetParam(), Stage::attend), nullptr);
  EXPECT_EQ(got.out, expected.out);
  EXPECT_EQ(got.lse, expected.lse);
}

const auto without_effect = ::testing::Values(Case{.name = "window_of_all_keys", .sliding_window = 300},
                                              Case{.name = "no_sink", .sink_logits = {-inf, -inf}});
INSTANTIATE_TEST_SUITE_P(Cases, MmaVariantsWithoutEffect, without_effect, name_of);

} // namespace
} // namespace sale::test
