// SPDX-License-Identifier: Apache-2.0
// What an Engine and its Plans do while a stream is captured.
#include "tests/runtime/plan_fixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>

namespace sale {
namespace {

class CaptureTest : public PlanTest {
protected:
  static std::size_t calls_of(const std::string &name) {
    const auto &calls = fake_cuda().calls;
    return static_cast<std::size_t>(
        std::count_if(calls.begin(), calls.end(), [&](const FakeCall &call) { return call.name == name; }));
  }
  /// The capture modes in which `name` was called.
  static std::set<int> modes_of(const std::string &name) {
    std::set<int> modes;
    for (const FakeCall &call : fake_cuda().calls) {
      if (call.name == name) {
        modes.insert(call.capture_mode);
      }
    }
    return modes;
  }
};

TEST_F(CaptureTest, PreparesNothingWhileAStreamThatWaitsForTheLegacyOneIsCaptured) {
  const Engine engine(0, options());
  fake_cuda().capture_blocks_legacy = true;
  const int compiles = fake_compiles();
  const Error error = error_of([&] { engine.prepare({}, {}); });
  EXPECT_EQ(error.kind(), ErrorKind::capturing);
  EXPECT_STREQ(error.what(), "Engine::prepare was called while a stream is captured into a graph; prepare and profile "
                             "before the capture begins; run, select and merge may be captured");
  EXPECT_EQ(fake_compiles(), compiles);
  EXPECT_EQ(calls_of("cuModuleLoadDataEx"), 0U);
  EXPECT_EQ(calls_of("cuMemAlloc_v2"), 0U);
  fake_cuda().capture_blocks_legacy = false;
  EXPECT_EQ(engine.prepare({}, {}).kernels().size(), 6U);
}

TEST_F(CaptureTest, LoadsAndUnloadsWithoutSpoilingACaptureThatItCannotSee) {
  std::optional<Plan> plan = prepare({});
  plan.reset();
  const std::set<int> relaxed = {cu::capture_relaxed};
  for (const char *call :
       {"cuModuleLoadDataEx", "cuMemAlloc_v2", "cuMemcpyHtoD_v2", "cuModuleUnload", "cuMemFree_v2"}) {
    EXPECT_EQ(modes_of(call), relaxed) << call;
  }
}

TEST_F(CaptureTest, PutsTheThreadsCaptureModeBack) {
  const Engine engine(0, options());
  engine.prepare({}, {});
  fake_cuda().fail_call = "cuModuleLoadDataEx";
  fake_cuda().fail_result = 2;
  Policy other;
  other.block_k = 64;
  EXPECT_THROW(engine.prepare({}, other), Error);
  fake_cuda().calls.clear();
  fake_cuda().fail_call.clear();
  EXPECT_EQ(engine.prepare({}, {}).kernels().size(), 6U);
  ASSERT_EQ(fake_cuda().calls.front().name, "cuCtxGetCurrent");
  EXPECT_EQ(fake_cuda().calls.front().capture_mode, cu::capture_global);
}

TEST_F(CaptureTest, RunsButDoesNotProfileOnACapturedStream) {
  const Plan plan = prepare({});
  const RunArgs args = args_for(plan, {1, 512, 512});
  fake_cuda().capturing_stream = stream_;
  fake_cuda().calls.clear();
  EXPECT_EQ(error_of([&] { plan.profile(args, stream_); }).kind(), ErrorKind::capturing);
  RunArgs selects = args;
  selects.mask_out = reinterpret_cast<std::uint32_t *>(0x500000000);
  EXPECT_EQ(error_of([&] { plan.profile_select(selects, stream_); }).kind(), ErrorKind::capturing);
  EXPECT_EQ(calls_of("cuLaunchKernel"), 0U);
  EXPECT_EQ(calls_of("cuEventCreate"), 0U);
  EXPECT_FALSE(enqueued(plan, args).empty());
  EXPECT_EQ(calls_of("cuStreamIsCapturing"), 0U);
}

TEST_F(CaptureTest, LoadsAKernelOnceForAllPlansOfAnEngine) {
  const Engine engine(0, options());
  std::optional<Plan> first = engine.prepare({}, {});
  Policy policy;
  policy.tau = 0.01F; // not in the kernels
  std::optional<Plan> second = engine.prepare({}, policy);
  EXPECT_EQ(calls_of("cuModuleLoadDataEx"), 6U);
  first.reset();
  EXPECT_EQ(fake_cuda().live_modules, 6);
  second.reset();
  EXPECT_EQ(fake_cuda().live_modules, 0);
  const Plan third = engine.prepare({}, {});
  EXPECT_EQ(calls_of("cuModuleLoadDataEx"), 12U);
}

} // namespace
} // namespace sale
