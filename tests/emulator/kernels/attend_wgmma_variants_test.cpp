// SPDX-License-Identifier: Apache-2.0
// The variants of attention in libsale's attend for Hopper: sliding windows, learned sinks, softcap, attention that is
// not causal.
#include "tests/emulator/kernels/attend_wgmma_case.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include "generator/generate.hpp"

#include <limits>
#include <tuple>

namespace sale::test {
namespace {

class AttendWgmmaVariants : public KernelTest, public ::testing::WithParamInterface<AttendWgmmaCase> {};

TEST_P(AttendWgmmaVariants, EqualsPlainLoopsInAnyOrderOfThreads) {
  for (const unsigned long long seed : schedules) {
    Device::get().set_schedule(seed);
    ASSERT_NO_FATAL_FAILURE(expect_plain_loops(GetParam())) << "schedule " << seed;
  }
}

std::string name_of(const ::testing::TestParamInfo<AttendWgmmaCase> &info) { return info.param.name; }

const auto sliding_cases = ::testing::Values(
    AttendWgmmaCase{.name = "own_key_only", .kept = {1, 1}, .sliding_window = 1},
    AttendWgmmaCase{.name = "window_below_a_granule", .kept = {0.9, 0.9}, .sliding_window = 31},
    AttendWgmmaCase{.name = "window_of_a_tile", .q_len = 200, .kv_len = 610, .kept = {0.8, 0.6}, .sliding_window = 64},
    AttendWgmmaCase{.name = "window_of_no_whole_blocks",
                    .head_dim = 128,
                    .q_len = 250,
                    .kv_len = 700,
                    .block_q = 128,
                    .block_k = 128,
                    .kept = {0.9, 0.9},
                    .keys_per_step = 96,
                    .sliding_window = 100},
    AttendWgmmaCase{.name = "window_past_all_keys", .kept = {0.6, 0.6}, .sliding_window = 1000},
    AttendWgmmaCase{.name = "window_far_from_the_first_key",
                    .q_len = 70,
                    .kv_len = 17000,
                    .block_k = 64,
                    .kept = {0.5, 0.5},
                    .heads = 1,
                    .sliding_window = 600},
    AttendWgmmaCase{.name = "window_of_groups",
                    .q_len = 150,
                    .kv_len = 260,
                    .heads = 6,
                    .gqa = 3,
                    .batch = 2,
                    .ctas = 3,
                    .sliding_window = 100},
    AttendWgmmaCase{.name = "filtered_window",
                    .q_len = 200,
                    .kv_len = 900,
                    .kept = {0.9, 0.8},
                    .filtered = true,
                    .sliding_window = 500},
    AttendWgmmaCase{.name = "filtered_window_of_large_blocks",
                    .q_len = 200,
                    .kv_len = 1200,
                    .block_q = 128,
                    .block_k = 64,
                    .kept = {0.9, 0.8},
                    .filtered = true,
                    .sliding_window = 700},
    AttendWgmmaCase{.name = "dense_own_key_only", .dense = true, .sliding_window = 1},
    AttendWgmmaCase{
        .name = "dense_window", .q_len = 300, .kv_len = 300, .dense = true, .ctas = 2, .sliding_window = 31},
    AttendWgmmaCase{.name = "dense_window_of_wide_rows",
                    .head_dim = 256,
                    .q_len = 130,
                    .kv_len = 500,
                    .stages = 2,
                    .dense = true,
                    .sliding_window = 100},
    AttendWgmmaCase{.name = "dense_window_of_three_consumers",
                    .q_len = 200,
                    .kv_len = 433,
                    .stages = 2,
                    .dense = true,
                    .consumers = 3,
                    .sliding_window = 64});
INSTANTIATE_TEST_SUITE_P(Sliding, AttendWgmmaVariants, sliding_cases, name_of);

constexpr float no_sink = -std::numeric_limits<float>::infinity();
const auto sink_cases = ::testing::Values(
    AttendWgmmaCase{
        .name = "sinks", .heads = 6, .gqa = 3, .batch = 2, .ctas = 3, .sink_logits = {0, 30, -3, no_sink, 200, 2}},
    AttendWgmmaCase{.name = "sinks_and_nothing_kept", .kept = {0, 0}, .sink_logits = {5, no_sink}},
    AttendWgmmaCase{.name = "sinks_over_scores_far_below_zero",
                    .q_len = 100,
                    .kept = {0.7, 0.7},
                    .level = -300,
                    .sink_logits = {0, -280}},
    AttendWgmmaCase{.name = "sinks_under_scores_far_above_zero",
                    .q_len = 100,
                    .kept = {0.7, 0.7},
                    .level = 300,
                    .sink_logits = {0, 280}},
    AttendWgmmaCase{.name = "dense_sinks", .dense = true, .dtype = DType::f16, .sink_logits = {1, 4}},
    AttendWgmmaCase{.name = "sinks_of_a_window", .dense = true, .sliding_window = 40, .sink_logits = {1, 4}});
INSTANTIATE_TEST_SUITE_P(Sinks, AttendWgmmaVariants, sink_cases, name_of);

const auto softcap_cases = ::testing::Values(
    AttendWgmmaCase{.name = "cap_of_1", .softcap = 1},
    AttendWgmmaCase{.name = "cap_of_5", .head_dim = 128, .softcap = 5},
    AttendWgmmaCase{.name = "cap_beyond_all_scores", .softcap = 1000},
    AttendWgmmaCase{.name = "cap_of_scores_far_below_zero", .q_len = 100, .level = -300, .softcap = 50},
    AttendWgmmaCase{
        .name = "cap_of_scores_rising_in_f16", .q_len = 100, .level = -30, .dtype = DType::f16, .softcap = 30},
    AttendWgmmaCase{
        .name = "cap_of_wide_rows", .head_dim = 256, .q_len = 100, .kv_len = 200, .stages = 2, .softcap = 50},
    AttendWgmmaCase{
        .name = "filtered_cap", .q_len = 130, .kv_len = 900, .kept = {0.8, 0.6}, .filtered = true, .softcap = 2},
    AttendWgmmaCase{.name = "dense_cap_of_a_window", .dense = true, .sliding_window = 100, .softcap = 5});
INSTANTIATE_TEST_SUITE_P(Softcap, AttendWgmmaVariants, softcap_cases, name_of);

const auto two_sided_cases = ::testing::Values(
    AttendWgmmaCase{.name = "two_sided", .causal = false},
    AttendWgmmaCase{.name = "two_sided_nothing_kept", .kept = {0, 0}, .causal = false},
    AttendWgmmaCase{.name = "two_sided_square", .q_len = 300, .kv_len = 300, .block_k = 64, .ctas = 2, .causal = false},
    AttendWgmmaCase{.name = "two_sided_more_queries_than_keys",
                    .head_dim = 128,
                    .q_len = 300,
                    .kv_len = 77,
                    .block_q = 128,
                    .block_k = 128,
                    .kept = {0.8, 1},
                    .keys_per_step = 96,
                    .causal = false},
    AttendWgmmaCase{.name = "two_sided_filtered",
                    .q_len = 150,
                    .kv_len = 909,
                    .kept = {0.9, 0.8},
                    .filtered = true,
                    .causal = false},
    AttendWgmmaCase{.name = "two_sided_filtered_square",
                    .q_len = 450,
                    .kv_len = 450,
                    .block_q = 128,
                    .block_k = 64,
                    .kept = {0.9, 0.8},
                    .heads = 1,
                    .filtered = true,
                    .causal = false},
    AttendWgmmaCase{.name = "two_sided_dense", .q_len = 130, .kv_len = 290, .dense = true, .causal = false},
    AttendWgmmaCase{
        .name = "two_sided_dense_more_queries_than_keys", .q_len = 290, .kv_len = 33, .dense = true, .causal = false},
    AttendWgmmaCase{.name = "two_sided_wide_rows",
                    .head_dim = 256,
                    .q_len = 100,
                    .kv_len = 200,
                    .stages = 2,
                    .softcap = 5,
                    .sink_logits = {1, 4},
                    .causal = false});
INSTANTIATE_TEST_SUITE_P(TwoSided, AttendWgmmaVariants, two_sided_cases, name_of);

enum class Variant { sliding, softcap, sink_logits, two_sided, sliding_softcap_and_sinks };

class AttendWgmmaVariantCode : public ::testing::TestWithParam<std::tuple<int, AttendKind, Variant>> {};

TEST_P(AttendWgmmaVariantCode, OfDefaultTilesIsGoodOnHopper) {
  const auto [head_dim, kind, variant] = GetParam();
  KernelSpec spec = attend_wgmma_spec(head_dim, DType::bf16, kind);
  const bool several = variant == Variant::sliding_softcap_and_sinks;
  spec.sliding = variant == Variant::sliding || several;
  spec.softcap = variant == Variant::softcap || several;
  spec.sink_logits = variant == Variant::sink_logits || several;
  spec.causal = variant != Variant::two_sided;
  spec.tile = default_tile(spec);
  expect_good_hopper_code(generate(spec));
}

INSTANTIATE_TEST_SUITE_P(Kernels, AttendWgmmaVariantCode,
                         ::testing::Combine(::testing::Values(64, 128, 256),
                                            ::testing::Values(AttendKind::sparse, AttendKind::dense,
                                                              AttendKind::filtered),
                                            ::testing::Values(Variant::sliding, Variant::softcap, Variant::sink_logits,
                                                              Variant::two_sided, Variant::sliding_softcap_and_sinks)));

} // namespace
} // namespace sale::test
