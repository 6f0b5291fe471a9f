// SPDX-License-Identifier: Apache-2.0
// libsale's attend for Hopper over ragged batches, packed, padded and in pages: every sequence comes out, bit for bit,
// as in a plain call of its own, whatever lies around it.
#include "tests/emulator/kernels/attend_ragged_case.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include "generator/generate.hpp"

#include <tuple>

namespace sale::test {
namespace {

class AttendRagged : public KernelTest, public ::testing::WithParamInterface<AttendRaggedCase> {};

TEST_P(AttendRagged, EqualsPlainCallsBitForBit) { expect_plain_calls(GetParam()); }

std::string name_of(const ::testing::TestParamInfo<AttendRaggedCase> &info) { return info.param.name; }

const std::vector<SequenceLengths> uneven = {{0, 40}, {70, 300}, {1, 65}, {0, 0}, {130, 131}, {3, 0}, {200, 72}};
const std::vector<SequenceLengths> even = {{130, 256}, {64, 64}, {0, 33}};
const std::vector<SequenceLengths> long_rows = {{20, 97}, {600, 600}};

const auto ragged_cases = ::testing::Values(
    AttendRaggedCase{.name = "packed", .sequences = uneven},
    AttendRaggedCase{.name = "packed_one_group", .sequences = even, .kv_heads = 1},
    AttendRaggedCase{.name = "packed_one", .sequences = {{77, 200}}, .dense = true},
    AttendRaggedCase{.name = "packed_long", .sequences = long_rows, .dense = true, .ctas = 3},
    AttendRaggedCase{
        .name = "packed_filtered", .sequences = {{130, 500}, {0, 9}, {70, 300}}, .kept = 0.9, .filtered = true},
    AttendRaggedCase{.name = "packed_wide_rows", .sequences = {{30, 95}, {70, 70}}, .head_dim = 256, .stages = 2},
    AttendRaggedCase{.name = "packed_filtered_window",
                     .sequences = {{130, 500}, {70, 300}},
                     .kept = 0.9,
                     .filtered = true,
                     .sliding_window = 270},
    AttendRaggedCase{
        .name = "packed_narrow_values", .sequences = even, .head_dim = 192, .v_head_dim = 128, .stages = 2},
    AttendRaggedCase{.name = "parts",
                     .sequences = {{70, 96, 200}, {70, 300}, {30, 64, 64}, {0, 96}, {128, 96, -200}},
                     .parts = true},
    AttendRaggedCase{.name = "parts_codes", .sequences = {{70, 96, 200}, {70, 300}}, .fp8 = true, .parts = true},
    AttendRaggedCase{.name = "packed_two_sided", .sequences = uneven, .causal = false},
    AttendRaggedCase{.name = "packed_sinks_and_cap", .sequences = uneven, .softcap = 5, .sinks = true},
    AttendRaggedCase{.name = "padded", .sequences = uneven, .packed = false, .dense = true},
    AttendRaggedCase{.name = "padded_window", .sequences = even, .packed = false, .block_q = 128, .sliding_window = 40},
    AttendRaggedCase{.name = "packed_codes", .sequences = uneven, .fp8 = true},
    AttendRaggedCase{.name = "packed_codes_wide_rows", .sequences = {{30, 95}, {70, 70}}, .head_dim = 256, .fp8 = true},
    AttendRaggedCase{
        .name = "padded_codes", .sequences = even, .packed = false, .kv_heads = 1, .fp8 = true, .dense = true},
    AttendRaggedCase{.name = "packed_codes_filtered",
                     .sequences = {{130, 500}, {70, 300}},
                     .kept = 0.9,
                     .fp8 = true,
                     .filtered = true,
                     .dense_below = 400});
INSTANTIATE_TEST_SUITE_P(Ragged, AttendRagged, ragged_cases, name_of);

const auto paged_cases = ::testing::Values(
    AttendRaggedCase{.name = "paged_64", .sequences = uneven, .page_size = 64},
    AttendRaggedCase{
        .name = "paged_96_heads_first", .sequences = even, .dense = true, .page_size = 96, .heads_first = true},
    AttendRaggedCase{.name = "paged_16", .sequences = uneven, .page_size = 16},
    AttendRaggedCase{
        .name = "paged_48_heads_first", .sequences = even, .causal = false, .page_size = 48, .heads_first = true},
    AttendRaggedCase{.name = "paged_codes", .sequences = even, .fp8 = true, .page_size = 32});
INSTANTIATE_TEST_SUITE_P(Paged, AttendRagged, paged_cases, name_of);

class AttendRaggedCode : public ::testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(AttendRaggedCode, OfDefaultTilesIsGoodOnHopper) {
  const auto [head_dim, fp8] = GetParam();
  KernelSpec spec = attend_wgmma_spec(head_dim, DType::bf16, AttendKind::sparse);
  spec.fp8_attend = fp8;
  spec.ragged = true;
  spec.page_rows = 16; // takes most registers
  spec.tile = default_tile(spec);
  expect_good_hopper_code(generate(spec));
}

INSTANTIATE_TEST_SUITE_P(Kernels, AttendRaggedCode,
                         ::testing::Combine(::testing::Values(64, 128, 256), ::testing::Bool()));

} // namespace
} // namespace sale::test
