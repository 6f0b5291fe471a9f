// SPDX-License-Identifier: Apache-2.0
// The walk gathers 256 granules at a time: only rows of thousands of keys show that one batch follows another.
#include "tests/emulator/kernels/kernel_source.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include "args/attend_args.cuh"

#include <fmt/format.h>

#include <map>
#include <random>

namespace sale::test {
namespace {

struct WalkCase {
  int block_q;
  int block_k;
  int keys_per_step;
  int stages;
  int kv_len;
  double kept;
};

std::ostream &operator<<(std::ostream &out, const WalkCase &c) {
  return out << fmt::format("q{} k{} step {} {} stages {} keys {} kept", c.block_q, c.block_k, c.keys_per_step,
                            c.stages, c.kv_len, c.kept);
}

constexpr int rows = 128; // of a CTA
constexpr int q_len = 320;

std::string source_of(const WalkCase &c) {
  return kernel_source("walk_kernel.cuh", {},
                       fmt::format("struct Config {{\n  static constexpr int block_q = {};\n"
                                   "  static constexpr int block_k = {};\n  static constexpr bool dense = false;\n"
                                   "  static constexpr bool ragged = false;\n"
                                   "  static constexpr int rows_per_warp = 32;\n"
                                   "  static constexpr int keys_per_step = {};\n  static constexpr int stages = {};\n"
                                   "  static constexpr int warps = 4;\n  static constexpr int threads = 128;\n}};\n",
                                   c.block_q, c.block_k, c.keys_per_step, c.stages));
}

class MaskWalk : public KernelTest, public ::testing::WithParamInterface<WalkCase> {};

TEST_P(MaskWalk, GivesEveryKeptBlockOnce) {
  const WalkCase &c = GetParam();
  const int q_blocks = (q_len + c.block_q - 1) / c.block_q;
  const int k_blocks = (c.kv_len + c.block_k - 1) / c.block_k;
  const int words = (k_blocks + 127) / 128 * 4;
  std::mt19937 random(7);
  std::bernoulli_distribution keep(c.kept);
  std::bernoulli_distribution keep_any(0.7); // of 32 words: whole batches are empty
  std::vector<std::uint32_t> mask(static_cast<std::size_t>(q_blocks) * words, 0);
  bool any = true;
  for (int block = 0; block < q_blocks; ++block) {
    for (int j = 0; j < k_blocks; ++j) {
      any = j % 1024 == 0 ? keep_any(random) : any;
      mask[static_cast<std::size_t>(block * words + j / 32)] |= static_cast<std::uint32_t>(any && keep(random))
                                                                << j % 32;
    }
  }

  const int granule = std::min(c.block_k, c.keys_per_step);
  const int ctas = (q_len + rows - 1) / rows;
  int room = 2 * k_blocks * (c.block_k / granule) + 64;
  Device &device = Device::get();
  const auto device_mask = device.upload(mask);
  const auto granules = device.allocate(static_cast<std::size_t>(ctas) * room * 4);
  const auto count = device.allocate(static_cast<std::size_t>(ctas) * 4);
  AttendArgs args{};
  args.mask = device_mask->as<unsigned>();
  args.num_q_heads = 1;
  args.q_len = q_len;
  args.kv_len = c.kv_len;
  args.mask_words = words;
  auto *granules_address = granules->as<std::uint32_t>();
  auto *count_address = count->as<std::uint32_t>();
  const unsigned shared_bytes = 16 + static_cast<unsigned>(c.stages) * 1024;
  device.run(source_of(c), "walk_keys", {static_cast<unsigned>(ctas), 1}, 128, shared_bytes,
             {&args, &granules_address, &count_address, &room});

  const auto got = granules->read<std::uint32_t>();
  const auto counts = count->read<std::uint32_t>();
  const auto bit = [&](int block, int j) {
    return block < q_blocks ? mask[static_cast<std::size_t>(block * words + j / 32)] >> j % 32 & 1U : 0U;
  };
  for (int cta = 0; cta < ctas; ++cta) {
    std::map<std::uint32_t, std::uint32_t> expected; // first key to keep bits
    const int first_block = cta * rows / c.block_q;
    for (int j = 0; j < k_blocks; ++j) {
      const std::uint32_t bits = bit(first_block, j) | (c.block_q < rows ? bit(first_block + 1, j) << 1U : 0U);
      for (int part = 0; bits != 0 && part < c.block_k / granule; ++part) {
        expected[static_cast<std::uint32_t>(j * c.block_k + part * granule)] = bits;
      }
    }
    std::map<std::uint32_t, std::uint32_t> seen;
    ASSERT_LE(counts[static_cast<std::size_t>(cta)], static_cast<std::uint32_t>(room));
    for (std::uint32_t i = 0; i < counts[static_cast<std::size_t>(cta)]; ++i) {
      const std::uint32_t entry = got[static_cast<std::size_t>(cta * room) + i];
      if ((entry & 3U) != 0) {
        EXPECT_TRUE(seen.emplace(entry >> 2U, entry & 3U).second) << "key " << (entry >> 2U) << " twice";
      }
    }
    EXPECT_EQ(seen, expected) << "CTA " << cta;
  }
}

const auto cases = ::testing::Values(WalkCase{64, 32, 64, 2, 20000, 0.5},  // two query blocks
                                     WalkCase{128, 32, 64, 3, 20000, 0.1}, // one
                                     WalkCase{64, 64, 128, 3, 30000, 0.9}, // many batches with padding
                                     WalkCase{64, 128, 64, 2, 40000, 0.2}, // two granules of a block
                                     WalkCase{128, 32, 32, 2, 9000, 1.0}); // one granule a step
INSTANTIATE_TEST_SUITE_P(Cases, MaskWalk, cases);

} // namespace
} // namespace sale::test
