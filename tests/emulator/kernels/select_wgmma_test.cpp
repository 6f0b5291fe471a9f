// SPDX-License-Identifier: Apache-2.0
// select of the wgmma family alone: masks of every shape against plain loops.
#include "generator/generate.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/select_wgmma_problem.hpp"

namespace sale::test {
namespace {

class SelectWgmma : public KernelTest, public ::testing::WithParamInterface<SelectWgmmaCase> {};

TEST_P(SelectWgmma, SetsTheBitsOfPlainLoopsInAnyOrderOfThreads) {
  const SelectWgmmaProblem problem(GetParam());
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

} // namespace
} // namespace sale::test
