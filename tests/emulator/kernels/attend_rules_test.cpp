// SPDX-License-Identifier: Apache-2.0
// libsale's attend kernel where random data hardly gets: nothing kept, scores far from zero, keys that begin or end
// exactly where rows do.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/plain_attention.hpp"

#include "args/attend_args.cuh"
#include "generator/generate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sale::test {
namespace {

struct RulesCase {
  const char *name;
  int block_q;
  int q_len;
  int kv_len;
  float level; ///< Every score is near this, the later the key the nearer to 0.
  double kept;
  bool dense = false;
};

std::ostream &operator<<(std::ostream &out, const RulesCase &c) { return out << c.name; }

constexpr int head_dim = 64;
constexpr int block_k = 32;

class AttendRules : public KernelTest, public ::testing::WithParamInterface<RulesCase> {};

TEST_P(AttendRules, HoldAtTheEdges) {
  const RulesCase &c = GetParam();
  KernelSpec spec;
  spec.stage = Stage::attend;
  spec.arch = {9, 0};
  spec.head_dim = head_dim;
  spec.block_q = c.block_q;
  spec.block_k = block_k;
  spec.dense = c.dense;
  spec.tile = default_tile(spec);

  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  const auto values = [&](int len) {
    std::vector<std::uint16_t> result(static_cast<std::size_t>(len) * head_dim);
    std::generate(result.begin(), result.end(), [&] { return to_bf16(normal(random)); });
    return result;
  };
  std::vector<std::uint16_t> q = values(c.q_len);
  std::vector<std::uint16_t> k = values(c.kv_len);
  const std::vector<std::uint16_t> v = values(c.kv_len);
  // Channel 0 carries the level.
  for (int row = 0; row < c.q_len; ++row) {
    q[static_cast<std::size_t>(row) * head_dim] = to_bf16(1);
  }
  for (int key = 0; key < c.kv_len; ++key) {
    k[static_cast<std::size_t>(key) * head_dim] =
        to_bf16(c.level * 8 * (2.0F - static_cast<float>(key) / static_cast<float>(c.kv_len)));
  }
  const int q_blocks = (c.q_len + c.block_q - 1) / c.block_q;
  constexpr int words = 4;
  std::bernoulli_distribution keep(c.kept);
  std::vector<std::uint32_t> bits(static_cast<std::size_t>(q_blocks) * words, 0);
  for (std::uint32_t &word : bits) {
    for (int bit = 0; bit < 32; ++bit) {
      word |= static_cast<std::uint32_t>(keep(random)) << bit;
    }
  }

  Device &device = Device::get();
  const auto q_data = device.upload(q);
  const auto k_data = device.upload(k);
  const auto v_data = device.upload(v);
  const auto mask = device.upload(bits);
  const auto out = device.allocate(q.size() * 2);
  const auto lse = device.allocate(static_cast<std::size_t>(c.q_len) * 4);
  AttendArgs args{};
  args.q = {q_data->as<void>(), 0, 0, head_dim};
  args.k = {k_data->as<void>(), 0, 0, head_dim};
  args.v = {v_data->as<void>(), 0, 0, head_dim};
  args.out = {out->as<void>(), 0, 0, head_dim};
  args.lse = lse->as<float>();
  args.mask = mask->as<unsigned>();
  args.num_q_heads = 1;
  args.q_len = c.q_len;
  args.kv_len = c.kv_len;
  args.mask_words = words;
  args.softmax_scale = 0.125F;
  const auto ctas = static_cast<unsigned>((c.q_len + spec.tile.rows() - 1) / spec.tile.rows());
  device.run(generate(spec), spec.entry_name().c_str(), {ctas, 1}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});

  const PlainAttention plain{q, k, v, head_dim, 1, c.q_len, c.kv_len, true, 0.125};
  const std::vector<std::uint16_t> got = out->read<std::uint16_t>();
  const std::vector<float> got_lse = lse->read<float>();
  for (int row = 0; row < c.q_len; ++row) {
    const std::uint32_t *mask_row = bits.data() + static_cast<std::size_t>(row / c.block_q) * words;
    const PlainAttention::Row expected = plain.row(
        0, row, [&](int key) { return c.dense || (mask_row[key / block_k / 32] >> (key / block_k % 32) & 1U) != 0; });
    const auto at = static_cast<std::size_t>(row);
    if (std::isinf(expected.lse)) {
      ASSERT_EQ(got_lse[at], expected.lse) << "row " << row;
    } else {
      ASSERT_NEAR(got_lse[at], expected.lse, 1e-3 + 1e-6 * std::abs(expected.lse)) << "row " << row;
    }
    for (int d = 0; d < head_dim; ++d) {
      ASSERT_NEAR(from_bf16(got[at * head_dim + static_cast<std::size_t>(d)]),
                  expected.out[static_cast<std::size_t>(d)], 0.02)
          << "row " << row << " channel " << d;
    }
  }
}

const auto cases = ::testing::Values(RulesCase{"nothing_kept", 64, 130, 300, 0, 0.0},
                                     RulesCase{"far_below_zero", 64, 100, 300, -300, 0.7},
                                     RulesCase{"far_above_zero", 64, 100, 300, 300, 0.7},
                                     RulesCase{"dense_far_below_zero", 64, 100, 300, -300, 1.0, true},
                                     // Blocks that begin with the last row of a warp or end right after its first.
                                     RulesCase{"rows_that_end_where_keys_do", 64, 66, 64 + 65, 0, 1.0},
                                     RulesCase{"rows_one_before_keys", 64, 65, 64 + 95, 0, 1.0},
                                     RulesCase{"rows_one_after_keys", 128, 97, 64 + 66, 0, 1.0},
                                     RulesCase{"dense_rows_one_before_keys", 64, 65, 64 + 95, 0, 1.0, true});
std::string name_of(const ::testing::TestParamInfo<RulesCase> &info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Cases, AttendRules, cases, name_of);

class TileConflicts : public KernelTest, public ::testing::WithParamInterface<int> {};

TEST_P(TileConflicts, ReadingFragmentsMeetsNone) {
  KernelSpec spec;
  spec.stage = Stage::attend;
  spec.arch = {9, 0};
  spec.head_dim = GetParam();
  spec.dense = true;
  spec.tile = default_tile(spec);
  Device &device = Device::get();
  const std::optional<unsigned long long> before = device.bank_conflicts("ldmatrix");
  if (!before) {
    GTEST_SKIP() << "only the emulator counts bank conflicts";
  }
  const int len = spec.tile.rows();
  const std::vector<std::uint16_t> zeros(static_cast<std::size_t>(len) * static_cast<std::size_t>(spec.head_dim), 0);
  const auto input = device.upload(zeros);
  const auto out = device.upload(zeros);
  AttendArgs args{};
  args.q = args.k = args.v = {input->as<void>(), 0, 0, spec.head_dim};
  args.out = {out->as<void>(), 0, 0, spec.head_dim};
  args.num_q_heads = 1;
  args.q_len = args.kv_len = len;
  args.softmax_scale = 1;
  device.run(generate(spec), spec.entry_name().c_str(), {1, 1}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});
  EXPECT_EQ(device.bank_conflicts("ldmatrix"), before);
}

INSTANTIATE_TEST_SUITE_P(HeadDims, TileConflicts, ::testing::Values(64, 96, 128, 192, 256));

} // namespace
} // namespace sale::test
