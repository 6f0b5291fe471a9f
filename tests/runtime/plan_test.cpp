// SPDX-License-Identifier: Apache-2.0
// What a Plan asks of the driver: order, sizes and arguments of launches, and that nothing else happens.
#include "args/amax_args.cuh"
#include "args/attend_args.cuh"
#include "args/attend_wgmma_args.cuh"
#include "args/mean_args.cuh"
#include "args/prepare_args.cuh"
#include "args/quantize_args.cuh"
#include "args/select_args.cuh"
#include "args/values_args.cuh"
#include "generator/kernel_spec.hpp"
#include "runtime/workspace.hpp"
#include "tests/runtime/plan_fixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace sale {
namespace {

TEST_F(PlanTest, LaunchesTheStagesOfEachEstimatorInOrder) {
  const Shape shape{1, 1000, 1000};
  const Plan int8 = prepare(policy_with(Estimator::int8));
  EXPECT_EQ(enqueued(int8, args_for(int8, shape)),
            (Names{memset_call, "sale_mean", "sale_quantize", "sale_prepare", "sale_select", "sale_attend"}));
  const Plan int4 = prepare(policy_with(Estimator::int4));
  EXPECT_EQ(enqueued(int4, args_for(int4, shape)), (Names{memset_call, "sale_mean", "sale_mean", "sale_quantize",
                                                          "sale_prepare", "sale_select", "sale_attend"}));
  const Plan exact = prepare(policy_with(Estimator::exact));
  EXPECT_EQ(enqueued(exact, args_for(exact, shape)), (Names{"sale_prepare", "sale_select", "sale_attend"}));
}

TEST_F(PlanTest, SkipsTheMeanOfKeysWhenKbarIsGiven) {
  const float *kbar = reinterpret_cast<const float *>(0x9000);
  const Plan int8 = prepare(policy_with(Estimator::int8));
  RunArgs args = args_for(int8, {1, 1000, 1000});
  args.kbar = kbar;
  EXPECT_EQ(enqueued(int8, args), (Names{"sale_quantize", "sale_prepare", "sale_select", "sale_attend"}));
  EXPECT_EQ(arguments_of<QuantizeArgs>(launch("sale_quantize")).kbar, kbar);
  EXPECT_EQ(arguments_of<PrepareArgs>(launch("sale_prepare")).kbar, kbar);

  const Plan int4 = prepare(policy_with(Estimator::int4));
  args = args_for(int4, {1, 1000, 1000});
  args.kbar = kbar;
  EXPECT_EQ(enqueued(int4, args),
            (Names{memset_call, "sale_mean", "sale_quantize", "sale_prepare", "sale_select", "sale_attend"}));
  EXPECT_EQ(arguments_of<MeanArgs>(launch("sale_mean")).x.data, args.q.data);
}

TEST_F(PlanTest, TakesKbarOfThePolicyInPlaceOfAMean) {
  Policy policy = policy_with(Estimator::int8);
  for (int i = 0; i < 8 * 128; ++i) {
    policy.kbar.push_back(static_cast<float>(i));
  }
  const Plan plan = prepare(policy);
  EXPECT_EQ(enqueued(plan, args_for(plan, {1, 1000, 1000})),
            (Names{"sale_quantize", "sale_prepare", "sale_select", "sale_attend"}));
  const float *kbar = arguments_of<QuantizeArgs>(launch("sale_quantize")).kbar;
  EXPECT_EQ(kbar[1023], 1023.0F) << "what was uploaded";
  EXPECT_EQ(arguments_of<PrepareArgs>(launch("sale_prepare")).kbar, kbar);

  // Plain kernels look for one of each sequence.
  const RunArgs batch = args_for(plan, {9, 130, 1001});
  EXPECT_EQ(enqueued(plan, batch), (Names{"sale_quantize", "sale_prepare", "sale_select", "sale_attend"}));
  EXPECT_EQ(std::count_if(fake_cuda().calls.begin(), fake_cuda().calls.end(),
                          [](const FakeCall &call) { return call.name == "cuMemcpyDtoDAsync_v2"; }),
            5); // 1, 1, 2, 4 and 1 of them
  const auto *in_workspace = reinterpret_cast<const char *>(arguments_of<QuantizeArgs>(launch("sale_quantize")).kbar);
  const auto *workspace = static_cast<const char *>(batch.workspace);
  EXPECT_TRUE(in_workspace >= workspace && in_workspace < workspace + batch.workspace_bytes);

  Serving serving;
  serving.ragged = true;
  const Plan ragged = prepare(policy, {}, serving);
  RunArgs args = args_for(ragged, {3, 130, 1001});
  enqueued(ragged, args);
  EXPECT_EQ(arguments_of<QuantizeArgs>(launch("sale_quantize")).ragged.kbar_stride, 0) << "all share it";

  args = args_for(plan, {1, 1000, 1000});
  args.kbar = reinterpret_cast<const float *>(0x9000);
  enqueued(plan, args);
  EXPECT_EQ(arguments_of<QuantizeArgs>(launch("sale_quantize")).kbar, args.kbar) << "the call's comes first";
}

TEST_F(PlanTest, SkipsSelectionWhenAMaskIsGiven) {
  const Plan plan = prepare({});
  RunArgs args = args_for(plan, {1, 1000, 1000});
  args.mask_in = reinterpret_cast<const std::uint32_t *>(0x9000);
  EXPECT_EQ(enqueued(plan, args), Names{"sale_attend"});
  EXPECT_EQ(arguments_of<AttendArgs>(launch("sale_attend")).mask, args.mask_in);
}

TEST_F(PlanTest, WritesAndReadsTheCallersMask) {
  const Plan plan = prepare({});
  RunArgs args = args_for(plan, {1, 1000, 1000});
  args.mask_out = reinterpret_cast<std::uint32_t *>(0x9000);
  enqueued(plan, args);
  EXPECT_EQ(arguments_of<SelectArgs>(launch("sale_select")).mask, args.mask_out);
  EXPECT_EQ(arguments_of<AttendArgs>(launch("sale_attend")).mask, args.mask_out);
}

TEST_F(PlanTest, SelectsWithoutAttention) {
  Policy policy;
  policy.dense_below = 100;
  const Plan plan = prepare(policy);
  RunArgs args = args_for(plan, {1, 1000, 1000});
  args.v = args.out = {};
  args.mask_out = reinterpret_cast<std::uint32_t *>(0x9000);
  fake_cuda().calls.clear();
  plan.select(args, stream_);
  EXPECT_EQ(enqueued(), (Names{memset_call, "sale_mean", "sale_quantize", "sale_prepare", "sale_select"}));
  EXPECT_EQ(arguments_of<SelectArgs>(launch("sale_select")).mask, args.mask_out);
  args.shape = {1, 99, 99};
  fake_cuda().calls.clear();
  plan.select(args, stream_);
  EXPECT_EQ(enqueued(), Names{"sale_select"}); // every visible block
}

TEST_F(PlanTest, RunsTheDenseKernelAloneForTheBaseline) {
  const Plan plan = prepare({});
  RunArgs args = args_for(plan, {1, 1000, 1000});
  args.workspace = nullptr;
  fake_cuda().calls.clear();
  plan.run_dense(args, stream_);
  EXPECT_EQ(enqueued(), Names{"sale_attend"});
}

TEST_F(PlanTest, PutsEveryLaunchOnTheCallersStreamWithTheRightGrid) {
  const Plan plan = prepare({});
  const RunArgs args = args_for(plan, {3, 130, 1001});
  enqueued(plan, args);
  for (const FakeCall &call : fake_cuda().calls) {
    if (call.name == "cuLaunchKernel" || call.name == memset_call) {
      EXPECT_EQ(call.stream, stream_);
    }
  }
  EXPECT_EQ(grid("sale_mean"), (std::vector<unsigned>{4, 8, 3}));
  EXPECT_EQ(grid("sale_quantize"), (std::vector<unsigned>{32, 8, 3}));
  EXPECT_EQ(grid("sale_prepare"), (std::vector<unsigned>{3, 16, 3})); // a CTA has two query heads
  for (const char *kernel : {"sale_select", "sale_attend"}) {
    KernelSpec spec;
    spec.stage = std::string(kernel) == "sale_select" ? Stage::select : Stage::attend;
    spec.gqa = 4;
    spec.tile = default_tile(spec);
    const auto rows = static_cast<unsigned>(spec.tile.rows());
    EXPECT_EQ(grid(kernel), (std::vector<unsigned>{(130 + rows - 1) / rows, 32, 3}));
    EXPECT_EQ(launch(kernel).threads, static_cast<unsigned>(spec.threads()));
    EXPECT_EQ(launch(kernel).shared, static_cast<unsigned>(spec.shared_memory()));
  }
}

TEST_F(PlanTest, HandsKernelsTheWorkspaceAndTheCallsNumbers) {
  Policy policy = policy_with(Estimator::int4);
  policy.sink = 48;
  policy.window = 200;
  const Plan plan = prepare(policy);
  RunArgs args = args_for(plan, {2, 130, 1001});
  args.lse = reinterpret_cast<float *>(0x8000);
  enqueued(plan, args);

  KernelSpec spec;
  spec.estimator = Estimator::int4;
  const WorkspaceLayout layout = workspace_layout(plan.problem(), policy, args.shape, spec.code_row_bytes());
  const auto offset = [&](const void *pointer) {
    return static_cast<std::size_t>(static_cast<const char *>(pointer) - static_cast<const char *>(args.workspace));
  };
  const auto mean = arguments_of<MeanArgs>(launch("sale_mean"));
  EXPECT_EQ(mean.x.data, args.k.data);
  EXPECT_EQ(offset(mean.mean), layout.kbar.offset);
  EXPECT_EQ(offset(mean.partial), layout.kbar_partial.offset);
  EXPECT_EQ(offset(mean.arrived), layout.counters.offset);
  EXPECT_EQ(mean.heads, 8);
  EXPECT_EQ(mean.len, 1001);
  const auto quantize = arguments_of<QuantizeArgs>(launch("sale_quantize"));
  EXPECT_EQ(offset(quantize.codes), layout.k_codes.offset);
  EXPECT_EQ(offset(quantize.scales), layout.k_scales.offset);
  EXPECT_EQ(offset(quantize.bias), layout.bias.offset);
  EXPECT_EQ(offset(quantize.qbar), layout.qbar.offset);
  EXPECT_EQ(quantize.kv_len, 1001);
  const auto prepare_args = arguments_of<PrepareArgs>(launch("sale_prepare"));
  EXPECT_EQ(offset(prepare_args.threshold), layout.threshold.offset);
  EXPECT_EQ(offset(prepare_args.theta), layout.theta.offset);
  EXPECT_EQ(offset(prepare_args.q_codes), layout.q_codes.offset);
  EXPECT_EQ(offset(prepare_args.q_scale), layout.q_scales.offset);
  EXPECT_EQ(prepare_args.sink, 48);
  EXPECT_EQ(prepare_args.window, 200);
  EXPECT_FLOAT_EQ(prepare_args.softmax_scale, 0.088388346F);
  EXPECT_EQ(prepare_args.shift, nullptr);
  const auto select = arguments_of<SelectArgs>(launch("sale_select"));
  EXPECT_EQ(offset(select.mask), layout.mask.offset);
  EXPECT_EQ(offset(select.theta), layout.theta.offset);
  EXPECT_EQ(select.mask_words, 4);
  EXPECT_EQ(select.q_len, 130);
  const auto attend = arguments_of<AttendArgs>(launch("sale_attend"));
  EXPECT_EQ(offset(attend.mask), layout.mask.offset);
  EXPECT_EQ(attend.lse, args.lse);
  EXPECT_EQ(attend.v.data, args.v.data);
  EXPECT_EQ(attend.k.stride_head, args.k.stride_head);
}

TEST_F(PlanTest, GivesTheTwoMeansOfInt4CountersOfTheirOwn) {
  const Plan plan = prepare(policy_with(Estimator::int4));
  enqueued(plan, args_for(plan, {3, 500, 500}));
  std::vector<MeanArgs> means;
  for (const FakeCall &call : fake_cuda().calls) {
    if (call.kernel == "sale_mean") {
      means.push_back(arguments_of<MeanArgs>(call));
    }
  }
  ASSERT_EQ(means.size(), 2U);
  EXPECT_EQ(means[1].arrived - means[0].arrived, 3 * 8);
  EXPECT_EQ(means[1].heads, 32);
}

TEST_F(PlanTest, FindsTheLargestValueOfEachHeadBeforeItEncodesThem) {
  arch_ = "sm_90a";
  Policy policy = policy_with(Estimator::exact);
  policy.fp8_attend = true;
  const Plan plan = prepare(policy);
  const RunArgs args = args_for(plan, {3, 130, 1001});
  EXPECT_EQ(enqueued(plan, args), (Names{memset_call, "sale_prepare", "sale_select", "sale_mean", "sale_quantize",
                                         "sale_amax", "sale_values", "sale_attend"}));
  const WorkspaceLayout layout = workspace_layout(plan.problem(), policy, args.shape, 0);
  const auto amax = arguments_of<AmaxArgs>(launch("sale_amax"));
  const char *counters = static_cast<const char *>(args.workspace) + layout.counters.offset;
  EXPECT_EQ(reinterpret_cast<const char *>(amax.amax), counters + 4 * 3 * 8); // after those of the means
  EXPECT_EQ(amax.x.data, args.v.data);
  EXPECT_EQ(amax.heads, 8);
  EXPECT_EQ(amax.len, 1001);
  EXPECT_EQ(launch("sale_amax").grid[0], static_cast<unsigned>(1000 / amax.tokens_per_split + 1));
  EXPECT_EQ(launch("sale_amax").grid[1], 8U);
  EXPECT_EQ(launch("sale_amax").grid[2], 3U);
  const auto values = arguments_of<ValuesArgs>(launch("sale_values"));
  EXPECT_EQ(values.amax, amax.amax);
  const auto attend = arguments_of<AttendWgmmaArgs>(launch("sale_attend"));
  EXPECT_EQ(attend.v_amax, amax.amax);
  EXPECT_EQ(attend.scales, values.scales);
  EXPECT_EQ(attend.v_codes, values.codes);
}

TEST_F(PlanTest, MapsTheTensorsOfAHopperCallAndStartsOneCtaPerMultiprocessor) {
  arch_ = "sm_90a";
  const Plan plan = prepare(policy_with(Estimator::int8));
  const RunArgs args = args_for(plan, {3, 130, 1001});
  EXPECT_EQ(enqueued(plan, args),
            (Names{memset_call, "sale_mean", "sale_quantize", "sale_prepare", "sale_select", "sale_attend"}));
  const FakeCall &call = launch("sale_attend");
  EXPECT_EQ(call.grid[0], 132U); // of 3 · 32 · 2 items
  EXPECT_EQ(call.grid[1], 1U);
  const auto attend = arguments_of<AttendWgmmaArgs>(call);
  FakeTensorMap keys;
  std::memcpy(&keys, attend.k.opaque, sizeof keys);
  EXPECT_EQ(keys.address, args.k.data);
  EXPECT_EQ(keys.dimensions[1], 1001U);
  EXPECT_EQ(keys.dimensions[2], 8U);
  EXPECT_EQ(keys.strides[1], 2U * 1001 * 128);
  EXPECT_EQ(keys.box[0], 64U);
  EXPECT_EQ(keys.box[1], 32U);
  EXPECT_NE(attend.next_item, nullptr);
  EXPECT_NE(attend.threshold, nullptr);
  EXPECT_EQ(attend.batch, 3);
}

TEST_F(PlanTest, RefusesStridesThatNoTensorMapTakes) {
  arch_ = "sm_90a";
  const Plan plan = prepare({});
  RunArgs args = args_for(plan, {1, 130, 1001});
  args.k.stride_head = 0;
  fake_cuda().calls.clear();
  EXPECT_NE(std::string(error_of([&] { plan.run(args, stream_); }).what()).find("k.stride_head 0 is not positive"),
            std::string::npos);
  EXPECT_TRUE(fake_cuda().calls.empty());
}

TEST_F(PlanTest, RunsDenseBelowThePolicysLength) {
  Policy policy;
  policy.dense_below = 1000;
  const Plan plan = prepare(policy);
  RunArgs args = args_for(plan, {1, 500, 999});
  EXPECT_EQ(enqueued(plan, args), Names{"sale_attend"});
  args.mask_out = reinterpret_cast<std::uint32_t *>(0x9000);
  EXPECT_EQ(enqueued(plan, args), (Names{"sale_select", "sale_attend"}));
  EXPECT_EQ(arguments_of<SelectArgs>(launch("sale_select")).tau[0], 0.0F);
  EXPECT_EQ(enqueued(plan, args_for(plan, {1, 500, 1000})).size(), 6U);
}

TEST_F(PlanTest, ZeroesTheCountersThatPersistentKernelsDrawFrom) {
  arch_ = "sm_90a";
  Policy policy;
  policy.dense_below = 1000;
  const Plan plan = prepare(policy);
  RunArgs args = args_for(plan, {1, 500, 999});
  args.mask_out = reinterpret_cast<std::uint32_t *>(0x9000);
  EXPECT_EQ(enqueued(plan, args), (Names{memset_call, "sale_select", "sale_attend"}));
  args.mask_out = nullptr;
  args.mask_in = reinterpret_cast<const std::uint32_t *>(0x9000);
  EXPECT_EQ(enqueued(plan, args), (Names{memset_call, "sale_attend"}));
  EXPECT_NE(arguments_of<AttendWgmmaArgs>(launch("sale_attend")).next_item, nullptr);
  args.workspace = nullptr;
  EXPECT_EQ(enqueued(plan, args), Names{"sale_attend"});
  EXPECT_EQ(arguments_of<AttendWgmmaArgs>(launch("sale_attend")).next_item, nullptr);
}

TEST_F(PlanTest, RefusesChannelsThatItsKernelsDoNotRead) {
  const Plan plan = prepare({});
  RunArgs args = args_for(plan, {1, 130, 1001});
  args.channels = reinterpret_cast<const std::int32_t *>(0x9000);
  EXPECT_NE(std::string(error_of([&] { plan.run(args, stream_); }).what()).find("policy.estimate_dim"),
            std::string::npos);
}

TEST_F(PlanTest, UploadsThePolicysThresholdsAndShiftsOnce) {
  Problem problem;
  problem.num_q_heads = 2;
  problem.num_kv_heads = 1;
  Policy policy;
  policy.tau_per_head = {0.5F, 0.25F};
  policy.shift_per_head = {0.0F, -1.5F};
  const Plan plan = prepare(policy, problem);
  RunArgs args = args_for(plan, {1, 100, 100});
  enqueued(plan, args);
  auto sent = arguments_of<PrepareArgs>(launch("sale_prepare"));
  EXPECT_EQ(sent.tau[1], 0.25F);
  EXPECT_EQ(sent.shift[1], -1.5F);
  EXPECT_EQ(arguments_of<SelectArgs>(launch("sale_select")).tau, sent.tau);

  args.tau = reinterpret_cast<const float *>(0x9000);
  args.shift = reinterpret_cast<const float *>(0xa000);
  enqueued(plan, args);
  sent = arguments_of<PrepareArgs>(launch("sale_prepare"));
  EXPECT_EQ(sent.tau, args.tau);
  EXPECT_EQ(sent.shift, args.shift);
  EXPECT_EQ(arguments_of<SelectArgs>(launch("sale_select")).tau, args.tau);
}

TEST_F(PlanTest, LeavesTheCallersContextCurrent) {
  const Plan plan = prepare({});
  int other = 0;
  const auto context = reinterpret_cast<cu::Context>(&other);
  make_current(context);
  plan.run(args_for(plan, {1, 100, 100}), stream_);
  cu::Context current = nullptr;
  fake_symbol<cu::Result (*)(cu::Context *)>(FAKE_CUDA, "cuCtxGetCurrent")(&current);
  EXPECT_EQ(current, context);
}

TEST_F(PlanTest, DoesNothingWhenThereIsNoWork) {
  const Plan plan = prepare({});
  RunArgs args;
  for (const Shape shape : {Shape{0, 10, 10}, Shape{1, 0, 10}, Shape{1, 0, 0}}) {
    args.shape = shape;
    EXPECT_TRUE(enqueued(plan, args).empty());
    EXPECT_EQ(plan.profile(args, stream_).total, 0.0);
    RunArgs selects = args;
    selects.mask_out = reinterpret_cast<std::uint32_t *>(0x500000000);
    EXPECT_EQ(plan.profile_select(selects, stream_).total, 0.0);
  }
}

TEST_F(PlanTest, RefusesBadArgumentsBeforeAnythingIsEnqueued) {
  const Plan plan = prepare({});
  RunArgs args = args_for(plan, {1, 100, 100});
  args.workspace_bytes -= 1;
  fake_cuda().calls.clear();
  EXPECT_EQ(error_of([&] { plan.run(args, stream_); }).kind(), ErrorKind::invalid_argument);
  EXPECT_TRUE(fake_cuda().calls.empty());
  EXPECT_THROW(plan.workspace_bytes({1, 5, 4}), Error);
}

TEST_F(PlanTest, NamesTheKernelWhoseLaunchFails) {
  const Plan plan = prepare({});
  const RunArgs args = args_for(plan, {1, 100, 100});
  fake_cuda().fail_call = "cuLaunchKernel";
  fake_cuda().fail_result = 2;
  fake_cuda().fail_after = 3;
  const Error error = error_of([&] { plan.run(args, stream_); });
  EXPECT_EQ(error.kind(), ErrorKind::launch);
  EXPECT_EQ(error.details().where, "cuLaunchKernel");
  EXPECT_EQ(error.details().spec.rfind("select", 0), 0U);
}

TEST_F(PlanTest, ProfilesEachStageAndLeavesNoEvents) {
  const Plan plan = prepare({});
  const StageTimes times = plan.profile(args_for(plan, {1, 100, 100}), stream_);
  EXPECT_EQ(times.mean, 1.0);
  EXPECT_EQ(times.quantize, 1.0);
  EXPECT_EQ(times.prepare, 1.0);
  EXPECT_EQ(times.select, 1.0);
  EXPECT_EQ(times.attend, 1.0);
  EXPECT_EQ(times.total, 5.0);
  EXPECT_EQ(fake_cuda().live_events, 0);
}

TEST_F(PlanTest, ProfilesSelectionWithoutAttention) {
  const Plan plan = prepare({});
  RunArgs args = args_for(plan, {1, 100, 100});
  args.mask_out = reinterpret_cast<std::uint32_t *>(0x500000000);
  args.v = {};
  args.out = {};
  fake_cuda().calls.clear();
  const StageTimes times = plan.profile_select(args, stream_);
  EXPECT_EQ(enqueued(), (Names{memset_call, "sale_mean", "sale_quantize", "sale_prepare", "sale_select"}));
  EXPECT_EQ(times.prepare, 1.0);
  EXPECT_EQ(times.select, 1.0);
  EXPECT_EQ(times.attend, 0.0);
  EXPECT_EQ(times.total, 4.0);
  EXPECT_EQ(fake_cuda().live_events, 0);
}

TEST_F(PlanTest, LeavesNoEventsWhenProfilingFails) {
  const Plan plan = prepare({});
  const RunArgs args = args_for(plan, {1, 100, 100});
  for (const char *call : {"cuEventCreate", "cuEventRecord", "cuLaunchKernel", "cuEventSynchronize"}) {
    fake_cuda().fail_call = call;
    fake_cuda().fail_result = 2;
    fake_cuda().fail_after = 2;
    EXPECT_THROW(plan.profile(args, stream_), Error) << call;
    EXPECT_EQ(fake_cuda().live_events, 0) << call;
  }
}

TEST_F(PlanTest, ReportsItsKernelsInLaunchOrder) {
  const Plan plan = prepare({});
  ASSERT_EQ(plan.kernels().size(), 6U);
  EXPECT_EQ(plan.kernels()[0].name.rfind("mean", 0), 0U);
  EXPECT_EQ(plan.kernels()[5].name.rfind("attend", 0), 0U);
  EXPECT_NE(plan.kernels()[5].name.find("dense"), std::string::npos);
  EXPECT_EQ(plan.kernels()[0].arch, "sm_90");
}

} // namespace
} // namespace sale
