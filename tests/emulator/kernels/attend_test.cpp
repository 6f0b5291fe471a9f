// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/kernel_source.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/plain_attention.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sale::test {
namespace {

constexpr int block = 64;

struct AttendCase {
  int head_dim;
  int heads;
  int gqa;
  int q_len;
  int kv_len;
  bool causal;
  int stages;
  double kept; ///< Share of the mask's bits that are set; a block that a row needs may be missing.
};

std::ostream &operator<<(std::ostream &out, const AttendCase &c) {
  return out << fmt::format("d{} {} heads gqa{} {}x{} {} {} stages, {} kept", c.head_dim, c.heads, c.gqa, c.q_len,
                            c.kv_len, c.causal ? "causal" : "full", c.stages, c.kept);
}

std::string source_of(const AttendCase &c) {
  return kernel_source("attend_sm90a.cuh",
                       {{.operand = WgmmaOperand::bf16, .result = WgmmaResult::f32, .n = block},
                        {.operand = WgmmaOperand::bf16,
                         .result = WgmmaResult::f32,
                         .n = c.head_dim,
                         .a_in_registers = true,
                         .b_mn_major = true}},
                       fmt::format("struct Config {{\n  static constexpr int head_dim = {};\n"
                                   "  static constexpr int gqa = {};\n  static constexpr int stages = {};\n"
                                   "  static constexpr bool causal = {};\n}};\n",
                                   c.head_dim, c.gqa, c.stages, c.causal));
}

unsigned shared_bytes_of(const AttendCase &c) {
  return static_cast<unsigned>((2 + 2 * c.stages) * block * c.head_dim * 2 + 8 + 4 * c.stages * 8);
}

/// As AttendArgs of attend_sm90a.cuh.
struct AttendArgs {
  float *lse;
  const std::uint32_t *mask;
  int q_len;
  int kv_len;
  int mask_words;
  float softmax_scale;
};

struct Tensors {
  std::vector<std::uint16_t> q, k, v; ///< [heads, len, head_dim]
  std::vector<std::uint32_t> mask;    ///< [heads, q_blocks, mask_words]
};

int blocks(int len) { return (len + block - 1) / block; }
constexpr int mask_words = 4;

Tensors random_tensors(const AttendCase &c) {
  std::mt19937 random(static_cast<unsigned>(c.q_len * 1000 + c.kv_len));
  std::normal_distribution<float> normal;
  const auto values = [&](int heads, int len, float scale) {
    std::vector<std::uint16_t> result(static_cast<std::size_t>(heads) * len * c.head_dim);
    std::generate(result.begin(), result.end(), [&] { return to_bf16(scale * normal(random)); });
    return result;
  };
  Tensors t;
  t.q = values(c.heads, c.q_len, 2);
  t.k = values(c.heads / c.gqa, c.kv_len, 1);
  t.v = values(c.heads / c.gqa, c.kv_len, 1);
  std::bernoulli_distribution keep(c.kept);
  t.mask.assign(static_cast<std::size_t>(c.heads) * blocks(c.q_len) * mask_words, 0);
  for (std::uint32_t &word : t.mask) {
    for (int bit = 0; bit < 32; ++bit) {
      word |= static_cast<std::uint32_t>(keep(random)) << bit; // those of blocks past the end too: nobody may look
    }
  }
  return t;
}

void run_and_compare(const AttendCase &c) {
  Device &device = Device::get();
  const Tensors t = random_tensors(c);
  const auto q = device.upload(t.q);
  const auto k = device.upload(t.k);
  const auto v = device.upload(t.v);
  const auto mask = device.upload(t.mask);
  const auto out = device.allocate(t.q.size() * 2);
  const auto lse = device.allocate(static_cast<std::size_t>(c.heads) * c.q_len * 4);
  const TensorShape queries{.heads = c.heads, .rows = c.q_len, .channels = c.head_dim};
  const TensorShape keys{.heads = c.heads / c.gqa, .rows = c.kv_len, .channels = c.head_dim};
  TensorMap maps[] = {device.tensor_map(*q, queries), device.tensor_map(*k, keys), device.tensor_map(*v, keys),
                      device.tensor_map(*out, queries)};
  const float scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
  AttendArgs args{lse->as<float>(), mask->as<std::uint32_t>(), c.q_len, c.kv_len, mask_words, scale};
  device.run(source_of(c), "attend_sm90a",
             {static_cast<unsigned>((c.q_len + 127) / 128), static_cast<unsigned>(c.heads)}, 384, shared_bytes_of(c),
             {&maps[0], &maps[1], &maps[2], &maps[3], &args});

  const PlainAttention plain{t.q, t.k, t.v, c.head_dim, c.gqa, c.q_len, c.kv_len, c.causal, scale};
  const std::vector<std::uint16_t> got = out->read<std::uint16_t>();
  const std::vector<float> got_lse = lse->read<float>();
  for (int head = 0; head < c.heads; ++head) {
    for (int row = 0; row < c.q_len; ++row) {
      const std::uint32_t *mask_row =
          t.mask.data() + (static_cast<std::size_t>(head) * blocks(c.q_len) + row / block) * mask_words;
      const PlainAttention::Row expected =
          plain.row(head, row, [&](int key) { return (mask_row[key / block / 32] >> (key / block % 32) & 1U) != 0; });
      const std::size_t at = static_cast<std::size_t>(head) * c.q_len + row;
      if (std::isinf(expected.lse)) {
        ASSERT_EQ(got_lse[at], expected.lse) << "head " << head << " row " << row;
      } else {
        ASSERT_NEAR(got_lse[at], expected.lse, 1e-3) << "head " << head << " row " << row;
      }
      for (int d = 0; d < c.head_dim; ++d) {
        // Probabilities and outputs are rounded to 8 bits; no value of V is larger than 6.
        ASSERT_NEAR(from_bf16(got[at * c.head_dim + d]), expected.out[d], 0.02)
            << "head " << head << " row " << row << " channel " << d;
      }
    }
  }
}

class AttendKernel : public KernelTest, public ::testing::WithParamInterface<AttendCase> {};

TEST_P(AttendKernel, EqualsPlainLoopsInAnyOrderOfThreads) {
  for (const unsigned long long seed : schedules) {
    Device::get().set_schedule(seed);
    ASSERT_NO_FATAL_FAILURE(run_and_compare(GetParam())) << "schedule " << seed;
  }
}

class AttendKernelCode : public ::testing::TestWithParam<AttendCase> {};

TEST_P(AttendKernelCode, IsGoodOnHopper) { expect_good_hopper_code(source_of(GetParam())); }

const auto cases = ::testing::Values(AttendCase{128, 2, 1, 128, 256, true, 2, 1.0}, // whole tiles
                                     AttendCase{64, 2, 2, 130, 333, true, 2, 0.6},  // a CTA with two rows
                                     AttendCase{64, 1, 1, 63, 400, true, 3, 0.4},   // one warpgroup has no row
                                     AttendCase{128, 2, 2, 65, 191, true, 2, 0.5},  // the last key's block ends early
                                     AttendCase{64, 2, 1, 100, 300, false, 2, 0.5}, // every row ends at kv_len
                                     AttendCase{64, 1, 1, 1, 64, true, 2, 1.0},     // one token
                                     AttendCase{64, 1, 1, 128, 256, true, 2, 0.0}); // nothing kept
INSTANTIATE_TEST_SUITE_P(Cases, AttendKernel, cases);
INSTANTIATE_TEST_SUITE_P(Cases, AttendKernelCode, cases);

} // namespace
} // namespace sale::test
