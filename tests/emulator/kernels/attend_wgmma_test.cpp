// SPDX-License-Identifier: Apache-2.0
// libsale's attend for Hopper, tile by tile: every way of packing granules into tiles, items that keep nothing or much
// of one side only, CTAs that work on several items.
#include "tests/emulator/kernels/attend_wgmma_case.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include "generator/generate.hpp"

#include <tuple>

namespace sale::test {
namespace {

class AttendWgmma : public KernelTest, public ::testing::WithParamInterface<AttendWgmmaCase> {};

TEST_P(AttendWgmma, EqualsPlainLoopsInAnyOrderOfThreads) {
  for (const unsigned long long seed : schedules) {
    Device::get().set_schedule(seed);
    ASSERT_NO_FATAL_FAILURE(expect_plain_loops(GetParam())) << "schedule " << seed;
  }
}

std::string name_of(const ::testing::TestParamInfo<AttendWgmmaCase> &info) { return info.param.name; }

const auto cases = ::testing::Values(
    AttendWgmmaCase{.name = "half_kept"}, AttendWgmmaCase{.name = "nothing_kept", .kept = {0, 0}},
    AttendWgmmaCase{.name = "all_kept", .kept = {1, 1}},
    // The first row sees all but the last key of a granule.
    AttendWgmmaCase{.name = "only_the_first_block_keeps", .q_len = 128, .kv_len = 702, .kept = {1, 0}, .stages = 2},
    AttendWgmmaCase{.name = "only_the_second_block_keeps", .q_len = 128, .kv_len = 700, .kept = {0, 1}, .stages = 3},
    AttendWgmmaCase{.name = "a_few_of_the_first_many_of_the_second", .q_len = 128, .kv_len = 900, .kept = {0.1, 0.9}},
    AttendWgmmaCase{.name = "no_second_block", .q_len = 63, .kv_len = 400},
    AttendWgmmaCase{.name = "one_token", .q_len = 1, .kv_len = 64, .kept = {1, 1}},
    AttendWgmmaCase{.name = "three_granules_a_tile",
                    .head_dim = 128,
                    .q_len = 200,
                    .kv_len = 610,
                    .keys_per_step = 96,
                    .stages = 3},
    AttendWgmmaCase{.name = "four_granules_a_tile",
                    .head_dim = 128,
                    .q_len = 128,
                    .kv_len = 500,
                    .keys_per_step = 128,
                    .stages = 2},
    AttendWgmmaCase{.name = "blocks_of_two_granules", .block_q = 64, .block_k = 64, .keys_per_step = 96},
    AttendWgmmaCase{.name = "blocks_of_four_granules",
                    .q_len = 250,
                    .kv_len = 700,
                    .block_q = 128,
                    .block_k = 128,
                    .keys_per_step = 96},
    AttendWgmmaCase{.name = "blocks_of_several_tiles", .q_len = 250, .kv_len = 700, .block_q = 128, .block_k = 128},
    AttendWgmmaCase{.name = "wide_rows", .head_dim = 256, .q_len = 100, .kv_len = 200, .stages = 2},
    AttendWgmmaCase{.name = "head_dim_192",
                    .head_dim = 192,
                    .q_len = 100,
                    .kv_len = 333,
                    .keys_per_step = 96,
                    .stages = 2,
                    .gqa = 2,
                    .dtype = DType::f16},
    AttendWgmmaCase{.name = "fewer_values",
                    .head_dim = 192,
                    .q_len = 130,
                    .kv_len = 301,
                    .block_q = 128,
                    .keys_per_step = 128,
                    .stages = 2,
                    .gqa = 2,
                    .v_head_dim = 128},
    AttendWgmmaCase{.name = "fewer_values_far_below_zero",
                    .head_dim = 192,
                    .q_len = 65,
                    .kv_len = 200,
                    .keys_per_step = 128,
                    .stages = 2,
                    .dense = true,
                    .heads = 1,
                    .batch = 2,
                    .level = -300,
                    .v_head_dim = 128},
    AttendWgmmaCase{.name = "filtered_fewer_values",
                    .head_dim = 192,
                    .q_len = 100,
                    .kv_len = 600,
                    .kept = {0.8, 0.8},
                    .keys_per_step = 128,
                    .stages = 2,
                    .heads = 1,
                    .filtered = true,
                    .v_head_dim = 128},
    // Keys and values of so many bytes that one KV head comes after the other.
    AttendWgmmaCase{.name = "several_batches_of_mask_words",
                    .head_dim = 256,
                    .q_len = 70,
                    .kv_len = 17000,
                    .kept = {0.04, 0.03},
                    .stages = 2},
    AttendWgmmaCase{.name = "groups", .q_len = 150, .kv_len = 260, .heads = 6, .gqa = 3, .batch = 2, .ctas = 3},
    AttendWgmmaCase{
        .name = "drawn_items", .q_len = 300, .kv_len = 300, .heads = 4, .gqa = 2, .ctas = 3, .dynamic = true},
    AttendWgmmaCase{.name = "far_below_zero", .q_len = 100, .kept = {0.7, 0.7}, .level = -300},
    AttendWgmmaCase{.name = "far_above_zero", .q_len = 100, .kept = {0.7, 0.7}, .level = 300},
    AttendWgmmaCase{
        .name = "far_below_zero_in_f16", .q_len = 100, .kept = {0.7, 0.7}, .level = -300, .dtype = DType::f16},
    AttendWgmmaCase{
        .name = "rising_a_little_in_f16", .q_len = 100, .kept = {0.7, 0.7}, .level = -30, .dtype = DType::f16},
    AttendWgmmaCase{.name = "wide_rows_far_below_zero", .head_dim = 256, .q_len = 100, .stages = 2, .level = -300},
    AttendWgmmaCase{.name = "filtered", .q_len = 130, .kv_len = 900, .kept = {0.8, 0.6}, .filtered = true},
    AttendWgmmaCase{.name = "filtered_wide_tiles",
                    .head_dim = 128,
                    .q_len = 128,
                    .kv_len = 900,
                    .kept = {0.8, 0.8},
                    .keys_per_step = 128,
                    .heads = 1,
                    .filtered = true},
    AttendWgmmaCase{.name = "filtered_tiles_of_one_block",
                    .q_len = 128,
                    .kv_len = 700,
                    .kept = {0.9, 0.3},
                    .keys_per_step = 32,
                    .filtered = true},
    AttendWgmmaCase{
        .name = "filtered_large_blocks", .q_len = 200, .kv_len = 900, .block_q = 128, .block_k = 128, .filtered = true},
    AttendWgmmaCase{.name = "filtered_in_f16",
                    .q_len = 100,
                    .kv_len = 600,
                    .heads = 4,
                    .gqa = 2,
                    .batch = 2,
                    .ctas = 3,
                    .dtype = DType::f16,
                    .filtered = true},
    AttendWgmmaCase{.name = "dense_chunk", .dense = true},
    AttendWgmmaCase{.name = "dense_square",
                    .head_dim = 128,
                    .q_len = 300,
                    .kv_len = 300,
                    .keys_per_step = 128,
                    .stages = 2,
                    .dense = true,
                    .ctas = 2},
    AttendWgmmaCase{.name = "dense_far_below_zero", .q_len = 100, .dense = true, .level = -300},
    AttendWgmmaCase{
        .name = "dense_wide_rows", .head_dim = 256, .q_len = 130, .kv_len = 130, .stages = 2, .dense = true},
    AttendWgmmaCase{.name = "dense_three_consumers",
                    .q_len = 200,
                    .kv_len = 333,
                    .keys_per_step = 64,
                    .stages = 2,
                    .dense = true,
                    .consumers = 3});
INSTANTIATE_TEST_SUITE_P(Cases, AttendWgmma, cases, name_of);

class AttendWgmmaCode : public ::testing::TestWithParam<std::tuple<int, DType, AttendKind>> {};

TEST_P(AttendWgmmaCode, OfDefaultTilesIsGoodOnHopper) {
  const auto [head_dim, dtype, kind] = GetParam();
  KernelSpec spec = attend_wgmma_spec(head_dim, dtype, kind);
  spec.tile = default_tile(spec);
  expect_good_hopper_code(generate(spec));
}

INSTANTIATE_TEST_SUITE_P(Kernels, AttendWgmmaCode,
                         ::testing::Combine(::testing::Values(64, 128, 256), ::testing::Values(DType::bf16, DType::f16),
                                            ::testing::Values(AttendKind::sparse, AttendKind::dense,
                                                              AttendKind::filtered)));

} // namespace
} // namespace sale::test
