// SPDX-License-Identifier: Apache-2.0
// A sparse call of a Plan that counts on the device, in a CUDA graph: replays give its bits again, and are counted.
#include "bench/random_mask.hpp"
#include "tests/gpu/caller.hpp"
#include "tests/gpu/stream_capture.hpp"

#include <bit>
#include <thread>

namespace sale::test {
namespace {

class CountersTest : public GpuTest, public ::testing::WithParamInterface<const char *> {
protected:
  static Plan prepare() {
    Serving serving;
    serving.counted = true;
    return Engine(0, test_options(GetParam())).prepare(Caller::problem(), {}, serving);
  }
};

std::uint64_t bits_of(const std::vector<std::uint32_t> &words) {
  std::uint64_t bits = 0;
  for (const std::uint32_t word : words) {
    bits += static_cast<std::uint64_t>(std::popcount(word));
  }
  return bits;
}

TEST_P(CountersTest, ReplaysGiveTheSameBitsAndAreCounted) {
  const auto &device = Gpu::get().device;
  const Plan plan = prepare();
  Caller caller(device, plan, 4);
  const std::vector<std::uint32_t> expected = alone(plan, caller);
  const std::uint64_t kept = bits_of(caller.mask());
  const PlanCounters direct = plan.counters();
  EXPECT_EQ(direct.finished, 1U);
  EXPECT_EQ(direct.kept_blocks, kept);
  EXPECT_LT(direct.kept_blocks, direct.visible_blocks / 2) << "the policy leaves much out";
  EXPECT_DOUBLE_EQ(static_cast<double>(direct.kept_blocks) / static_cast<double>(direct.visible_blocks),
                   bench::mask_density(caller.mask(), Caller::problem(), plan.policy(), Caller::shape));

  StreamCapture graph(device->driver(), 1);
  graph.capture([&](cu::Stream stream) { caller.run(plan, stream); });
  constexpr std::uint64_t replays = 10;
  for (std::uint64_t i = 0; i < replays; ++i) {
    caller.poison();
    graph.replay();
    ASSERT_EQ(caller.result(), expected) << i;
  }
  const PlanCounters counters = plan.counters();
  EXPECT_EQ(counters.runs, 2U) << "one direct, one captured";
  EXPECT_EQ(counters.finished, 1 + replays);
  EXPECT_EQ(counters.kept_blocks, (1 + replays) * kept);
  EXPECT_EQ(counters.visible_blocks, (1 + replays) * direct.visible_blocks);
  EXPECT_GT(counters.milliseconds, direct.milliseconds);
}

TEST_P(CountersTest, CallsOfSeveralStreamsAllCount) {
  constexpr std::size_t threads = 4;
  constexpr std::uint64_t rounds = 50;
  const auto &device = Gpu::get().device;
  const Plan plan = prepare();
  std::vector<std::thread> running;
  running.reserve(threads);
  std::vector<std::uint64_t> kept(threads);
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      const CurrentContext current(*device);
      const Stream stream(device->driver());
      const Caller caller(device, plan, static_cast<unsigned>(i));
      for (std::uint64_t round = 0; round < rounds; ++round) {
        caller.run(plan, stream.get());
      }
      device->driver().check(device->driver().api.stream_synchronize(stream.get()), "cuStreamSynchronize");
      kept[i] = bits_of(caller.mask());
    });
  }
  for (std::thread &thread : running) {
    thread.join();
  }
  std::uint64_t all = 0;
  for (const std::uint64_t each : kept) {
    all += rounds * each;
  }
  EXPECT_EQ(plan.counters().finished, threads * rounds);
  EXPECT_EQ(plan.counters().kept_blocks, all);
}

// The GPU's own kernels, and those of every GPU.
INSTANTIATE_TEST_SUITE_P(Archs, CountersTest, ::testing::Values("", "sm_80"), [](const auto &test) {
  return std::string(test.param).empty() ? std::string("own") : std::string(test.param);
});

} // namespace
} // namespace sale::test
