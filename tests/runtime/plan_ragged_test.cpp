// SPDX-License-Identifier: Apache-2.0
// What Plans of ragged batches ask of the driver.
#include "args/amax_args.cuh"
#include "args/attend_args.cuh"
#include "args/attend_wgmma_args.cuh"
#include "args/mean_args.cuh"
#include "args/merge_args.cuh"
#include "args/prepare_args.cuh"
#include "args/quantize_args.cuh"
#include "args/select_args.cuh"
#include "args/select_wgmma_args.cuh"
#include "args/sequences_args.cuh"
#include "args/tails_args.cuh"
#include "generator/kernel_spec.hpp"
#include "runtime/workspace.hpp"
#include "tests/runtime/plan_fixture.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

using Names = std::vector<std::string>;

class RaggedPlanTest : public PlanTest {
protected:
  static Serving ragged() {
    Serving serving;
    serving.ragged = true;
    return serving;
  }

  static const std::int32_t *integers(std::uintptr_t address) {
    return reinterpret_cast<const std::int32_t *>(address);
  }

  /// Sequences of at most 700 rows and 1001 keys; 1300 and 2000 of all three.
  RunArgs packed_args(const Plan &plan) {
    RunArgs args = args_for(plan, {3, 700, 1001, 1300, 2000});
    const Problem &p = plan.problem();
    args.q = packed_view(args.q.data, p.num_q_heads, 1300, p.head_dim);
    args.out = packed_view(args.out.data, p.num_q_heads, 1300, p.head_dim);
    args.k = packed_view(args.k.data, p.num_kv_heads, 2000, p.head_dim);
    args.v = packed_view(args.v.data, p.num_kv_heads, 2000, p.head_dim);
    args.cu_seqlens_q = integers(0x9000);
    args.cu_seqlens_kv = integers(0xa000);
    return args;
  }

  WorkspaceLayout layout_of(const Plan &plan, const Shape &shape) {
    KernelSpec spec;
    spec.estimator = plan.policy().estimator;
    return workspace_layout(plan.problem(), plan.policy(), shape, spec.code_row_bytes(), plan.serving());
  }

  static FakeTensorMap map_of(const TensorMap &map) {
    FakeTensorMap fake;
    std::memcpy(&fake, map.opaque, sizeof fake);
    return fake;
  }
};

TEST_F(RaggedPlanTest, FindsItsSequencesFirst) {
  const Plan plan = prepare(policy_with(Estimator::int8), {}, ragged());
  const RunArgs args = packed_args(plan);
  EXPECT_EQ(enqueued(plan, args), (Names{memset_call, "sale_sequences", "sale_mean", "sale_quantize", "sale_prepare",
                                         "sale_select", "sale_attend"}));
  EXPECT_EQ(grid("sale_sequences"), (std::vector<unsigned>{1, 1, 1}));
  const auto a = arguments_of<SequencesArgs>(launch("sale_sequences"));
  EXPECT_EQ(a.cu_q, args.cu_seqlens_q);
  EXPECT_EQ(a.cu_kv, args.cu_seqlens_kv);
  EXPECT_EQ(a.batch, 3);
  EXPECT_EQ(a.q_len, 700);
  EXPECT_EQ(a.kv_len, 1001);
  EXPECT_EQ(a.total_q, 1300);
  EXPECT_EQ(a.total_kv, 2000);
  EXPECT_EQ(a.q_rows, (10 + 3) * 128);
  EXPECT_EQ(a.kv_rows, (15 + 3) * 128);
  EXPECT_EQ(a.slots, 2 + 3);
  EXPECT_EQ(a.causal, 1);
  const WorkspaceLayout layout = layout_of(plan, args.shape);
  const auto *workspace = static_cast<const char *>(args.workspace);
  const auto quantize = arguments_of<QuantizeArgs>(launch("sale_quantize"));
  EXPECT_EQ(reinterpret_cast<const char *>(a.sequences), workspace + layout.sequences.offset);
  EXPECT_EQ(quantize.ragged.sequences, a.sequences);
  EXPECT_EQ(quantize.ragged.counts, a.counts);
  EXPECT_EQ(quantize.ragged.row_units, a.row_units);
  EXPECT_EQ(quantize.ragged.key_units, a.key_units);
  EXPECT_EQ(quantize.ragged.slots, a.slots);
  EXPECT_EQ(quantize.ragged.lse_stride, 1300);
  EXPECT_EQ(quantize.ragged.mask_stride, 20 + 3);
  EXPECT_EQ(quantize.ragged.q_batch, 0);
  EXPECT_EQ(quantize.ragged.kv_batch, 0);
  EXPECT_EQ(quantize.ragged.kbar_stride, 8 * 128);
}

TEST_F(RaggedPlanTest, HasGridsOfWhatThereMayBe) {
  const Plan plan = prepare(policy_with(Estimator::int8), {}, ragged());
  enqueued(plan, packed_args(plan));
  EXPECT_EQ(grid("sale_mean"), (std::vector<unsigned>{4, 8, 3}));
  EXPECT_EQ(grid("sale_quantize"), (std::vector<unsigned>{(15 + 3) * 4, 8, 1}));
  EXPECT_EQ(grid("sale_prepare"), (std::vector<unsigned>{5 * 8, 16, 1}));
  for (const char *kernel : {"sale_select", "sale_attend"}) {
    KernelSpec spec;
    spec.stage = std::string(kernel) == "sale_select" ? Stage::select : Stage::attend;
    spec.gqa = 4;
    spec.ragged = true;
    spec.tile = default_tile(spec);
    EXPECT_EQ(grid(kernel), (std::vector<unsigned>{5 * 512 / static_cast<unsigned>(spec.tile.rows()), 32, 1}));
  }
}

TEST_F(RaggedPlanTest, OfPaddedTensorsKeepsTheirBatch) {
  const Plan plan = prepare(policy_with(Estimator::int4), {}, ragged());
  RunArgs args = args_for(plan, {3, 700, 1001});
  args.kv_lens = integers(0x9000);
  args.kbar = reinterpret_cast<const float *>(0xb000);
  args.kbar_shared = true;
  enqueued(plan, args);
  EXPECT_EQ(arguments_of<SequencesArgs>(launch("sale_sequences")).kv_lens, args.kv_lens);
  const auto mean = arguments_of<MeanArgs>(launch("sale_mean"));
  EXPECT_EQ(mean.of_queries, 1);
  EXPECT_EQ(mean.ragged.q_batch, 1);
  EXPECT_EQ(mean.ragged.kv_batch, 1);
  EXPECT_EQ(mean.ragged.lse_stride, 700);
  EXPECT_EQ(mean.ragged.mask_stride, 11);
  EXPECT_EQ(mean.ragged.kbar_stride, 0);
  EXPECT_EQ(mean.ragged.slots, 6);
}

TEST_F(RaggedPlanTest, MapsPackedTensorsAsOneSequence) {
  arch_ = "sm_90a";
  const Plan plan = prepare(policy_with(Estimator::int8), {}, ragged());
  const RunArgs args = packed_args(plan);
  EXPECT_EQ(enqueued(plan, args), (Names{memset_call, "sale_sequences", "sale_mean", "sale_quantize", "sale_prepare",
                                         "sale_select", "sale_tails", "sale_attend"}));
  EXPECT_EQ(grid("sale_attend"), (std::vector<unsigned>{132, 1, 1}));
  EXPECT_EQ(grid("sale_tails"), (std::vector<unsigned>{8, 3, 1}));
  const auto attend = arguments_of<AttendWgmmaArgs>(launch("sale_attend"));
  const FakeTensorMap keys = map_of(attend.k);
  EXPECT_EQ(keys.dimensions[1], 2000U);
  EXPECT_EQ(keys.dimensions[2], 8U);
  EXPECT_EQ(keys.dimensions[3], 1U);
  EXPECT_EQ(map_of(attend.q).dimensions[1], 1300U);
  const FakeTensorMap tails = map_of(attend.v_tail);
  EXPECT_EQ(tails.address, arguments_of<TailsArgs>(launch("sale_tails")).tails);
  EXPECT_EQ(tails.dimensions[1], 32U);
  EXPECT_EQ(tails.dimensions[3], 3U);
  const FakeTensorMap codes = map_of(arguments_of<SelectWgmmaArgs>(launch("sale_select")).k_codes);
  EXPECT_EQ(codes.dimensions[1], 8U * (15 + 3) * 128);
  EXPECT_EQ(codes.dimensions[2], 1U);
}

TEST_F(RaggedPlanTest, NeedsItsWorkspaceWhateverItDoes) {
  const Plan plan = prepare({}, {}, ragged());
  RunArgs args = packed_args(plan);
  args.workspace = nullptr;
  EXPECT_NE(std::string(error_of([&] { plan.run_dense(args, stream_); }).what()).find("workspace is null"),
            std::string::npos);
}

class PagedPlanTest : public RaggedPlanTest {
protected:
  static Serving pages_of(int keys) {
    Serving serving;
    serving.page_size = keys;
    return serving;
  }

  /// Two sequences of at most 130 rows and 1001 keys, in 40 pages.
  RunArgs paged_args(const Plan &plan) {
    RunArgs args = args_for(plan, {2, 130, 1001});
    const Problem &p = plan.problem();
    args.k = packed_view(args.k.data, p.num_kv_heads, plan.serving().page_size, p.head_dim);
    args.v = packed_view(args.v.data, p.num_kv_heads, plan.serving().page_size, p.head_dim);
    args.kv_lens = integers(0x9000);
    args.block_table = integers(0xa000);
    args.block_table_stride = 100;
    args.num_pages = 40;
    return args;
  }
};

TEST_F(PagedPlanTest, TellsKernelsWhereThePagesAre) {
  const Plan plan = prepare(policy_with(Estimator::int4), {}, pages_of(64));
  const RunArgs args = paged_args(plan);
  enqueued(plan, args);
  const auto attend = arguments_of<AttendArgs>(launch("sale_attend"));
  EXPECT_EQ(attend.paged.table, args.block_table);
  EXPECT_EQ(attend.paged.table_stride, 100);
  EXPECT_EQ(attend.paged.page_size, 64);
  EXPECT_EQ(attend.paged.num_pages, 40);
  EXPECT_EQ(attend.ragged.kv_batch, 0);
  EXPECT_EQ(attend.ragged.q_batch, 1);
  for (const FakeCall &call : fake_cuda().calls) {
    if (call.kernel == "sale_mean") {
      const auto mean = arguments_of<MeanArgs>(call);
      EXPECT_EQ(mean.paged.table, mean.of_queries != 0 ? nullptr : args.block_table);
    }
  }
}

TEST_F(PagedPlanTest, MapsPagesAsABatch) {
  arch_ = "sm_90a";
  for (const int keys : {64, 48}) {
    const Plan plan = prepare(policy_with(Estimator::int8), {}, pages_of(keys));
    enqueued(plan, paged_args(plan));
    const auto attend = arguments_of<AttendWgmmaArgs>(launch("sale_attend"));
    const FakeTensorMap values = map_of(attend.v);
    EXPECT_EQ(values.dimensions[1], static_cast<unsigned>(keys));
    EXPECT_EQ(values.dimensions[3], 40U);
    EXPECT_EQ(values.strides[2], 2U * 8 * static_cast<unsigned>(keys) * 128);
    EXPECT_EQ(values.box[1], keys == 64 ? 32U : 16U);
    EXPECT_EQ(map_of(attend.v_tail).box[1], values.box[1]);
    EXPECT_EQ(map_of(attend.q).dimensions[3], 2U);
  }
}

TEST_F(PagedPlanTest, KeepsCodesBesideThePages) {
  Serving serving = pages_of(96);
  serving.code_cache = true;
  const std::size_t codes = 40U * 8 * 96 * 128;
  for (const char *arch : {"sm_90", "sm_90a"}) {
    arch_ = arch;
    const Plan plan = prepare(policy_with(Estimator::int8), {}, serving);
    EXPECT_EQ(plan.code_cache_bytes(40), codes + 40U * 8 * 3 * 4);
    RunArgs args = paged_args(plan);
    args.kbar = reinterpret_cast<const float *>(0xb000);
    args.code_cache = reinterpret_cast<void *>(0xc000);
    args.coded_lens = integers(0xd000);
    enqueued(plan, args);
    EXPECT_EQ(arguments_of<SequencesArgs>(launch("sale_sequences")).coded_lens, args.coded_lens);
    const auto quantize = arguments_of<QuantizeArgs>(launch("sale_quantize"));
    EXPECT_EQ(quantize.paged.codes, args.code_cache);
    EXPECT_EQ(reinterpret_cast<const unsigned char *>(quantize.paged.scales), quantize.paged.codes + codes);
    EXPECT_EQ(quantize.paged.rows_per_box, 32);
  }
  const FakeTensorMap map = map_of(arguments_of<SelectWgmmaArgs>(launch("sale_select")).k_codes);
  EXPECT_EQ(map.address, reinterpret_cast<void *>(0xc000));
  EXPECT_EQ(map.dimensions[0], 128U);
  EXPECT_EQ(map.dimensions[1], 96U);
  EXPECT_EQ(map.dimensions[2], 8U);
  EXPECT_EQ(map.dimensions[3], 40U);
  EXPECT_EQ(map.strides[2], 8U * 96 * 128);
  EXPECT_EQ(map.box[1], 32U);
}

TEST_F(RaggedPlanTest, OfPartsTakesThresholdsAndMerges) {
  Serving serving;
  serving.parts = true;
  const Plan plan = prepare(policy_with(Estimator::int8), {}, serving);
  EXPECT_EQ(plan.code_cache_bytes(40), 0U);
  RunArgs args = args_for(plan, {3, 130, 1001});
  args.key_offsets = integers(0x9000);
  args.q_positions = integers(0xa000);
  args.threshold_in = reinterpret_cast<const float *>(0xb000);
  args.threshold_out = reinterpret_cast<float *>(0xc000);
  enqueued(plan, args);
  const auto sequences = arguments_of<SequencesArgs>(launch("sale_sequences"));
  EXPECT_EQ(sequences.key_offsets, args.key_offsets);
  EXPECT_EQ(sequences.q_positions, args.q_positions);
  const auto prepared = arguments_of<PrepareArgs>(launch("sale_prepare"));
  EXPECT_EQ(prepared.threshold_in, args.threshold_in);
  EXPECT_EQ(prepared.threshold_out, args.threshold_out);

  MergeArgs merge;
  merge.shape = args.shape;
  merge.out_a = merge.out = args.out;
  merge.out_b = args.q;
  merge.lse_a = merge.lse_b = args.threshold_in;
  merge.lse = args.threshold_out;
  fake_cuda().calls.clear();
  plan.merge(merge, stream_);
  EXPECT_EQ(enqueued(), Names{"sale_merge"});
  EXPECT_EQ(grid("sale_merge"), (std::vector<unsigned>{5, 32, 3}));
  const auto merged = arguments_of<MergeRowsArgs>(launch("sale_merge"));
  EXPECT_EQ(merged.out_b.data, args.q.data);
  EXPECT_EQ(merged.lse, merge.lse);
  EXPECT_EQ(merged.q_len, 130);
}

} // namespace
} // namespace sale
