// SPDX-License-Identifier: Apache-2.0
// libsale's quantize and prepare kernels where real keys and queries hardly get: keys too small for a reciprocal,
// zeros, NaN, and the rows that pad the queries (docs/numerics.md, sections 5 and 6).
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/plain_attention.hpp"

#include "args/prepare_args.cuh"
#include "args/quantize_args.cuh"
#include "generator/generate.hpp"

#include <cmath>
#include <limits>

namespace sale::test {
namespace {

constexpr int head_dim = 64;
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

KernelSpec spec_of(Stage stage) {
  KernelSpec spec;
  spec.stage = stage;
  spec.arch = {9, 0};
  spec.head_dim = head_dim;
  spec.estimator = Estimator::int8;
  spec.tile = default_tile(spec);
  return spec;
}

template <class Args>
void run(const KernelSpec &spec, unsigned ctas, Args &args) {
  Device::get().run(generate(spec), spec.entry_name().c_str(), {ctas, 1}, static_cast<unsigned>(spec.threads()),
                    static_cast<unsigned>(spec.shared_memory()), {&args});
}

std::vector<std::uint16_t> zero_rows(int len) {
  return std::vector<std::uint16_t>(static_cast<std::size_t>(len) * head_dim, 0);
}

std::uint16_t &element(std::vector<std::uint16_t> &rows, int row, int channel) {
  return rows[static_cast<std::size_t>(row) * head_dim + static_cast<std::size_t>(channel)];
}

class QuantizeRules : public KernelTest {};

TEST_F(QuantizeRules, HoldForTinyZeroAndNanKeys) {
  constexpr int kv_len = 90; // groups of 32, 32 and 26 keys
  constexpr float tiny = 1.2e-38F;
  std::vector<std::uint16_t> k = zero_rows(kv_len);
  element(k, 3, 10) = to_bf16(tiny);
  element(k, 31, 63) = to_bf16(-tiny);
  element(k, 70, 0) = to_bf16(nan);
  element(k, 89, 1) = to_bf16(2);
  Device &device = Device::get();
  const auto k_data = device.upload(k);
  const auto kbar = device.upload(std::vector<float>(head_dim, 0.0F));
  const auto codes = device.allocate(static_cast<std::size_t>(kv_len) * head_dim);
  const auto scales = device.allocate(3 * sizeof(float));
  QuantizeArgs args{};
  args.k = {k_data->as<void>(), 0, 0, head_dim};
  args.kbar = kbar->as<float>();
  args.codes = codes->as<unsigned char>();
  args.scales = scales->as<float>();
  args.num_kv_heads = 1;
  args.kv_len = kv_len;
  run(spec_of(Stage::quantize), 3, args);

  std::vector<std::int8_t> expected(static_cast<std::size_t>(kv_len) * head_dim, 0);
  expected[3 * head_dim + 10] = 127; // 127/amax overflows, the clamp brings it back
  expected[31 * head_dim + 63] = -127;
  EXPECT_EQ(codes->read<std::int8_t>(), expected);
  const std::vector<float> got = scales->read<float>();
  EXPECT_EQ(got[0], from_bf16(to_bf16(tiny)) / 127.0F);
  EXPECT_EQ(got[1], 0.0F);
  EXPECT_TRUE(std::isnan(got[2]));
}

class PrepareRules : public KernelTest, public ::testing::WithParamInterface<float> {};

TEST_P(PrepareRules, HoldForZeroRowsNanAndPadding) {
  constexpr int q_len = 50; // the padding is longer than a query block
  constexpr int kv_len = 90;
  constexpr int q_padded = 128;
  std::vector<std::uint16_t> q = zero_rows(q_len);
  element(q, 1, 0) = to_bf16(1);
  std::vector<std::uint16_t> k = zero_rows(kv_len);
  element(k, kv_len - 1, 5) = to_bf16(nan); // only the last row sees it
  const float tau = GetParam();
  Device &device = Device::get();
  const auto q_data = device.upload(q);
  const auto k_data = device.upload(k);
  const auto kbar = device.upload(std::vector<float>(head_dim, 0.0F));
  const auto tau_data = device.upload(std::vector<float>{tau});
  const auto threshold = device.allocate(q_padded * sizeof(float));
  const auto theta = device.allocate(q_padded * sizeof(float));
  const auto q_scale = device.allocate(q_padded * sizeof(float));
  const auto q_codes = device.allocate(static_cast<std::size_t>(q_padded) * head_dim);
  PrepareArgs args{};
  args.q = {q_data->as<void>(), 0, 0, head_dim};
  args.k = {k_data->as<void>(), 0, 0, head_dim};
  args.kbar = kbar->as<float>();
  args.tau = tau_data->as<float>();
  args.threshold = threshold->as<float>();
  args.theta = theta->as<float>();
  args.q_scale = q_scale->as<float>();
  args.q_codes = q_codes->as<unsigned char>();
  args.num_q_heads = 1;
  args.q_len = q_len;
  args.kv_len = kv_len;
  args.window = kv_len; // every visible key is a reference
  args.softmax_scale = 0.125F;
  const KernelSpec spec = spec_of(Stage::prepare);
  run(spec, static_cast<unsigned>((q_len + spec.block_q - 1) / spec.block_q), args);

  const std::vector<float> got_threshold = threshold->read<float>();
  const std::vector<float> got_theta = theta->read<float>();
  const std::vector<float> got_scale = q_scale->read<float>();
  const std::vector<std::int8_t> got_codes = q_codes->read<std::int8_t>();
  for (int row = 0; row < q_padded; ++row) {
    const auto at = static_cast<std::size_t>(row);
    const bool one = row == 1;
    EXPECT_EQ(got_scale[at], one ? 1.0F / 127.0F : 0.0F) << "row " << row;
    EXPECT_EQ(got_codes[at * head_dim], one ? 127 : 0) << "row " << row;
    EXPECT_EQ(got_codes[at * head_dim + 1], 0) << "row " << row;
    if (row >= q_len) {
      EXPECT_EQ(got_threshold[at], infinity) << "row " << row;
      EXPECT_EQ(got_theta[at], infinity) << "row " << row;
    } else if (row == q_len - 1) {
      EXPECT_TRUE(std::isnan(got_threshold[at]));
      EXPECT_TRUE(std::isnan(got_theta[at]));
    } else {
      // All scores are 0: l is the number of visible keys.
      const float expected = std::log(tau * static_cast<float>(kv_len - q_len + row + 1)) / 0.125F;
      EXPECT_NEAR(got_threshold[at], expected, 1e-4F) << "row " << row;
      if (one) {
        EXPECT_NEAR(got_theta[at], expected * 127.0F, 1e-2F);
      } else {
        EXPECT_EQ(got_theta[at], expected < 0 ? -infinity : infinity) << "row " << row;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Taus, PrepareRules, ::testing::Values(0.5F, 0.001F));

} // namespace
} // namespace sale::test
