// SPDX-License-Identifier: Apache-2.0
#include "runtime/arguments.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace sale {
namespace {

constexpr std::size_t needed = 4096;

template <class T>
T *address(std::uintptr_t value) {
  return reinterpret_cast<T *>(value);
}

RunArgs good_args() {
  RunArgs args;
  args.shape = {2, 100, 200};
  args.q = packed_view(address<void>(0x1000000), 32, 100, 128);
  args.k = packed_view(address<void>(0x2000000), 8, 200, 128);
  args.v = packed_view(address<void>(0x3000000), 8, 200, 128);
  args.out = packed_view(address<void>(0x4000000), 32, 100, 128);
  args.workspace = address<void>(0x10000);
  args.workspace_bytes = needed;
  return args;
}

struct BadArgs {
  const char *name;
  std::function<void(RunArgs &)> spoil;
  const char *sentence;
  RunMode mode = RunMode::sparse;
};

void PrintTo(const BadArgs &bad, std::ostream *out) { *out << bad.name; }

class BadArguments : public testing::TestWithParam<BadArgs> {};

TEST_P(BadArguments, AreRefusedWithASentence) {
  RunArgs args = good_args();
  GetParam().spoil(args);
  const Error error = error_of([&] { validate(args, Problem(), Policy(), needed, GetParam().mode); });
  EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
  EXPECT_STREQ(error.what(), GetParam().sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Every, BadArguments,
    testing::Values(
        BadArgs{"NegativeBatch", [](RunArgs &a) { a.shape.batch = -1; }, "batch -1 must be between 0 and 65535"},
        BadArgs{"MoreQueriesThanKeys", [](RunArgs &a) { a.shape.q_len = 201; },
                "q_len 201 is greater than kv_len 200; queries are the last q_len positions of the keys"},
        BadArgs{"NullQ", [](RunArgs &a) { a.q.data = nullptr; }, "q.data is null; it must be device memory"},
        BadArgs{"NullK", [](RunArgs &a) { a.k.data = nullptr; }, "k.data is null; it must be device memory"},
        BadArgs{"NullV", [](RunArgs &a) { a.v.data = nullptr; }, "v.data is null; it must be device memory"},
        BadArgs{"NullOut", [](RunArgs &a) { a.out.data = nullptr; }, "out.data is null; it must be device memory"},
        BadArgs{"MisalignedK", [](RunArgs &a) { a.k.data = address<void>(0x2008); }, "k.data is not 16-byte aligned"},
        BadArgs{"OddTokenStride", [](RunArgs &a) { a.v.stride_token = 132; },
                "v.stride_token 132 is not a multiple of 8 elements; rows must start on 16-byte boundaries"},
        BadArgs{"OddHeadStride", [](RunArgs &a) { a.q.stride_head = 1; },
                "q.stride_head 1 is not a multiple of 8 elements; rows must start on 16-byte boundaries"},
        BadArgs{"OddBatchStride", [](RunArgs &a) { a.out.stride_batch = 7; },
                "out.stride_batch 7 is not a multiple of 8 elements; rows must start on 16-byte boundaries"},
        BadArgs{"ForgottenStrides", [](RunArgs &a) { a.q = {a.q.data, 0, 0, 0}; },
                "q.stride_token is 0 with 100 tokens; strides are in elements (packed_view fills them in)"},
        BadArgs{
            "OutHeadsOnTopOfEachOther", [](RunArgs &a) { a.out.stride_head = 0; },
            "rows of out overlap: strides 409600, 0 and 128 of batch, head and token are too small for 2 sequences of "
            "32 heads of 100 tokens of 128 elements"},
        BadArgs{"OutTokensOnTopOfEachOther", [](RunArgs &a) { a.out.stride_token = -120; },
                "rows of out overlap: strides 409600, 12800 and -120 of batch, head and token are too small for 2 "
                "sequences of 32 heads of 100 tokens of 128 elements"},
        BadArgs{"OutSequencesOnTopOfEachOther", [](RunArgs &a) { a.out.stride_batch = 409592; },
                "rows of out overlap: strides 409592, 12800 and 128 of batch, head and token are too small for 2 "
                "sequences of 32 heads of 100 tokens of 128 elements"},
        BadArgs{"OutIsAnInput", [](RunArgs &a) { a.out.data = a.q.data; },
                "out must not overlap q, k or v; it overlaps q"},
        BadArgs{"OutEndsInsideAnInput", [](RunArgs &a) { a.k.data = address<void>(0x4000000 + 2 * 819200 - 16); },
                "out must not overlap q, k or v; it overlaps k"},
        BadArgs{"OutStartsInsideAnInput", [](RunArgs &a) { a.out.data = address<void>(0x3000000 + 2 * 409600 - 16); },
                "out must not overlap q, k or v; it overlaps v"},
        BadArgs{"MisalignedLse", [](RunArgs &a) { a.lse = address<float>(0x5001); }, "lse is not 4-byte aligned"},
        BadArgs{"SinkLogitsOfAPlanWithout", [](RunArgs &a) { a.sink_logits = address<float>(0x5000); },
                "sink_logits is given, but the plan was prepared without them; set problem.sink_logits"},
        BadArgs{"MisalignedSinkLogits", [](RunArgs &a) { a.sink_logits = address<float>(0x5001); },
                "sink_logits is not 4-byte aligned"},
        BadArgs{"MisalignedKbar", [](RunArgs &a) { a.kbar = address<float>(0x5004); }, "kbar is not 16-byte aligned"},
        BadArgs{"NoWorkspace", [](RunArgs &a) { a.workspace = nullptr; },
                "workspace is null; this shape needs 4096 bytes of device memory (Plan::workspace_bytes)"},
        BadArgs{"MisalignedWorkspace", [](RunArgs &a) { a.workspace = address<void>(0x10080); },
                "workspace is not 256-byte aligned"},
        BadArgs{"SmallWorkspace", [](RunArgs &a) { a.workspace_bytes = 4095; },
                "workspace_bytes 4095 is too small; this shape needs 4096 (Plan::workspace_bytes)"},
        BadArgs{"TwoMasks",
                [](RunArgs &a) {
                  a.mask_in = address<std::uint32_t>(0x5000);
                  a.mask_out = address<std::uint32_t>(0x6000);
                },
                "mask_in and mask_out are both given; with mask_in nothing is selected, so set one of them to null"},
        BadArgs{"MisalignedMask", [](RunArgs &a) { a.mask_in = address<std::uint32_t>(0x5004); },
                "mask_in is not 16-byte aligned"},
        BadArgs{"SelectionWithoutAMask", [](RunArgs &) {},
                "select writes a mask and reads none; set mask_out to device memory and mask_in to null",
                RunMode::select},
        BadArgs{"MaskOfADenseRun", [](RunArgs &a) { a.mask_out = address<std::uint32_t>(0x5000); },
                "run_dense neither reads nor writes a mask; set mask_in and mask_out to null", RunMode::dense},
        BadArgs{
            "Channels", [](RunArgs &a) { a.channels = address<std::int32_t>(16); },
            "channels is given, but the plan's estimate uses every channel; prepare it with policy.estimate_dim and "
            "without a projection"},
        BadArgs{"Projection", [](RunArgs &a) { a.projection = address<float>(16); },
                "projection is given, but the plan was prepared without one; give policy.projection"}),
    [](const auto &bad) { return std::string(bad.param.name); });

TEST(Arguments, AreAcceptedWhenTheyAreRight) {
  EXPECT_NO_THROW(validate(good_args(), Problem(), Policy(), needed, RunMode::sparse));
}

TEST(Arguments, BringSinkLogitsWhereTheProblemHasThem) {
  Problem problem;
  problem.sink_logits = true;
  RunArgs args = good_args();
  EXPECT_STREQ(
      error_of([&] { validate(args, problem, Policy(), needed, RunMode::sparse); }).what(),
      "sink_logits is null; the plan was prepared with problem.sink_logits, so give one number per query head");
  args.sink_logits = address<float>(0x5000);
  EXPECT_NO_THROW(validate(args, problem, Policy(), needed, RunMode::sparse));
}

TEST(Arguments, OfASelectionNeedNoValuesAndNoOutput) {
  RunArgs args = good_args();
  args.v = args.out = {};
  args.mask_out = address<std::uint32_t>(0x5000);
  EXPECT_NO_THROW(validate(args, Problem(), Policy(), needed, RunMode::select));
  EXPECT_THROW(validate(args, Problem(), Policy(), needed + 1, RunMode::select), Error);
}

TEST(Arguments, OfAMergeAreTwoPartsAndTheirWhole) {
  const auto refusal = [](const std::function<void(MergeArgs &, Serving &)> &spoil) {
    MergeArgs args;
    args.shape.batch = 2;
    args.shape.q_len = 100;
    args.out_a = args.out = packed_view(address<void>(0x1000000), 32, 100, 128);
    args.out_b = packed_view(address<void>(0x2000000), 32, 100, 128);
    args.lse_a = args.lse = address<float>(0x5000);
    args.lse_b = address<float>(0x6000);
    Serving serving;
    serving.parts = true;
    spoil(args, serving);
    try {
      validate(args, Problem(), serving);
    } catch (const Error &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal([](MergeArgs &, Serving &) {}), "");
  EXPECT_EQ(refusal([](MergeArgs &a, Serving &) { a.out = a.out_a = {}; }), "");
  EXPECT_EQ(refusal([](MergeArgs &, Serving &s) { s.parts = false; }),
            "merge needs a plan prepared with serving.parts");
  EXPECT_EQ(refusal([](MergeArgs &a, Serving &) { a.lse_b = nullptr; }), "lse_b is null; it must be device memory");
  EXPECT_EQ(refusal([](MergeArgs &a, Serving &) { a.out_a = {}; }), "out_a.data is null; it must be device memory");
  EXPECT_EQ(refusal([](MergeArgs &a, Serving &) { a.shape.total_q = -1; }),
            "total_q -1 and total_kv 0 must be between 0 and 1048576; more sequences need more calls");
}

TEST(Arguments, OfNarrowValuesMayHaveRowsThatKeysWouldOverlap) {
  Problem problem;
  problem.head_dim = 192;
  problem.v_head_dim = 128;
  RunArgs args = good_args();
  args.q = packed_view(args.q.data, 32, 100, 192);
  args.k = packed_view(args.k.data, 8, 200, 192);
  EXPECT_NO_THROW(validate(args, problem, Policy(), needed, RunMode::sparse));
  problem.v_head_dim = 0;
  const Error error = error_of([&] { validate(args, problem, Policy(), needed, RunMode::sparse); });
  EXPECT_NE(std::string(error.what()).find("rows of out overlap"), std::string::npos) << error.what();
}

TEST(Arguments, MayBeViewsIntoOnePackedTensor) {
  RunArgs args = good_args();
  auto *data = address<char>(0x1000000);
  for (TensorView *view : {&args.q, &args.k, &args.v, &args.out}) {
    view->data = data;
    view->stride_token = 80 * 128;
    view->stride_head = 128;
    view->stride_batch = 80 * 128 * 200;
    data += (view == &args.q ? 32 : 8) * 128 * 2;
  }
  EXPECT_NO_THROW(validate(args, Problem(), Policy(), needed, RunMode::sparse));
  args.out.data = static_cast<char *>(args.out.data) - 16;
  EXPECT_THROW(validate(args, Problem(), Policy(), needed, RunMode::sparse), Error);
}

TEST(Arguments, NeedNoPointersWhenThereIsNoWork) {
  RunArgs args;
  args.shape = {0, 100, 100};
  EXPECT_NO_THROW(validate(args, Problem(), Policy(), 0, RunMode::sparse));
  args.shape = {1, 0, 100};
  EXPECT_NO_THROW(validate(args, Problem(), Policy(), 0, RunMode::sparse));
}

TEST(Arguments, NeedNoWorkspaceWithAMaskOrADenseRun) {
  RunArgs args = good_args();
  args.workspace = nullptr;
  EXPECT_NO_THROW(validate(args, Problem(), Policy(), needed, RunMode::dense));
  args.mask_in = address<std::uint32_t>(0x5000);
  EXPECT_NO_THROW(validate(args, Problem(), Policy(), needed, RunMode::sparse));
}

TEST(Arguments, OfOneTokenMayHaveATokenStrideOfZero) {
  RunArgs args = good_args();
  args.shape.q_len = 1;
  args.q.stride_token = 0;
  args.out.stride_token = 0;
  EXPECT_NO_THROW(validate(args, Problem(), Policy(), needed, RunMode::sparse));
}

TEST(PackedView, CountsStridesInElements) {
  const TensorView view = packed_view(nullptr, 4, 10, 64);
  EXPECT_EQ(view.stride_token, 64);
  EXPECT_EQ(view.stride_head, 640);
  EXPECT_EQ(view.stride_batch, 2560);
}

} // namespace
} // namespace sale
