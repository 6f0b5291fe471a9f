// SPDX-License-Identifier: Apache-2.0
// Hosts that do several things at once: threads that share a Plan, streams, contexts of the host's own, devices.
#include "runtime/shared_library.hpp"
#include "tests/gpu/caller.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace sale::test {
namespace {

constexpr int threads = 4;
constexpr int rounds = 25;

class ConcurrentTest : public GpuTest {};

TEST_F(ConcurrentTest, ThreadsWithStreamsOfTheirOwnShareAPlan) {
  const auto &device = Gpu::get().device;
  const Plan plan = Engine(0, test_options()).prepare(Caller::problem(), {});
  std::vector<std::unique_ptr<Caller>> callers;
  std::vector<std::vector<std::uint32_t>> expected;
  for (unsigned i = 0; i < threads; ++i) {
    callers.push_back(std::make_unique<Caller>(device, plan, 10 * i));
    expected.push_back(alone(plan, *callers.back()));
  }
  std::vector<int> wrong(threads);
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      const CurrentContext current(*device);
      const Stream stream(device->driver());
      for (int round = 0; round < rounds; ++round) {
        callers[i]->poison();
        for (int again = 0; again < 3; ++again) { // so that streams overlap
          callers[i]->run(plan, stream.get());
        }
        device->driver().check(device->driver().api.stream_synchronize(stream.get()), "cuStreamSynchronize");
        wrong[i] += callers[i]->result() == expected[i] ? 0 : 1;
      }
    });
  }
  for (std::thread &thread : running) {
    thread.join();
  }
  EXPECT_EQ(wrong, std::vector<int>(threads));
}

TEST_F(ConcurrentTest, EnginesOfTheirOwnShareADevice) {
  const auto &device = Gpu::get().device;
  const Plan plan = Engine(0, test_options()).prepare(Caller::problem(), {});
  Caller caller(device, plan, 5);
  const std::vector<std::uint32_t> expected = alone(plan, caller);
  std::vector<int> wrong(threads);
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      const Plan own = Engine(0, test_options()).prepare(Caller::problem(), {});
      const CurrentContext current(*device);
      const Stream stream(device->driver());
      Caller of_thread(device, own, 5);
      for (int round = 0; round < rounds; ++round) {
        of_thread.poison();
        of_thread.run(own, stream.get());
        device->driver().check(device->driver().api.stream_synchronize(stream.get()), "cuStreamSynchronize");
        wrong[i] += of_thread.result() == expected ? 0 : 1;
      }
    });
  }
  for (std::thread &thread : running) {
    thread.join();
  }
  EXPECT_EQ(wrong, std::vector<int>(threads));
}

TEST_F(ConcurrentTest, ThreadsPrepareWhileOthersRun) {
  const auto &device = Gpu::get().device;
  const Engine engine(0, test_options());
  const Plan plan = engine.prepare(Caller::problem(), {});
  Caller caller(device, plan, 1);
  const std::vector<std::uint32_t> expected = alone(plan, caller);
  std::thread preparing([&] {
    Policy other;
    other.block_k = 64;
    for (int i = 0; i < 5; ++i) {
      engine.prepare(Caller::problem(), other);
    }
  });
  for (int round = 0; round < rounds; ++round) {
    EXPECT_EQ(alone(plan, caller), expected);
  }
  preparing.join();
}

TEST_F(ConcurrentTest, AContextOfTheHostsOwnGivesTheSameBits) {
  const auto &device = Gpu::get().device;
  const Plan plan = Engine(0, test_options()).prepare(Caller::problem(), {});
  Caller caller(device, plan, 2);
  const std::vector<std::uint32_t> expected = alone(plan, caller);
  const SharedLibrary library = SharedLibrary::open(device->driver().file());
  auto *create = reinterpret_cast<int (*)(cu::Context *, unsigned, int)>(library.symbol("cuCtxCreate_v2"));
  auto *destroy = reinterpret_cast<int (*)(cu::Context)>(library.symbol("cuCtxDestroy_v2"));
  ASSERT_NE(create, nullptr);
  cu::Context own = nullptr;
  ASSERT_EQ(create(&own, 0, 0), cu::success); // current from here on
  std::thread([&] {                           // a thread with no context: the Engine's is what counts
    EXPECT_EQ(alone(plan, caller), expected);
  })
      .join();
  {
    const auto there = std::make_shared<const Device>(Driver::open(), -1);
    EXPECT_EQ(there->context(), own);
    const Plan other = Engine(-1, test_options()).prepare(Caller::problem(), {});
    Caller in_own(there, other, 2);
    EXPECT_EQ(alone(other, in_own), expected);
    EXPECT_EQ(alone(plan, caller), expected) << "the first context's Plan, while another is current";
  }
  cu::Context popped = nullptr;
  device->driver().check(device->driver().api.context_pop(&popped), "cuCtxPopCurrent");
  EXPECT_EQ(popped, own);
  EXPECT_EQ(destroy(own), cu::success);
}

TEST_F(ConcurrentTest, TwoDevicesGiveTheSameBits) {
  const auto &first = Gpu::get().device;
  int count = 0;
  first->driver().check(first->driver().api.device_count(&count), "cuDeviceGetCount");
  if (count < 2) {
    GTEST_SKIP() << "there is one GPU";
  }
  const Plan plan = Engine(0, test_options()).prepare(Caller::problem(), {});
  Caller caller(first, plan, 3);
  const std::vector<std::uint32_t> expected = alone(plan, caller);
  std::thread([&] { // with no current context
    const auto second = std::make_shared<const Device>(Driver::open(), 1);
    const CurrentContext current(*second);
    const Plan other = Engine(1, test_options()).prepare(Caller::problem(), {});
    Caller there(second, other, 3);
    EXPECT_EQ(alone(other, there), expected);
  })
      .join();
  EXPECT_EQ(alone(plan, caller), expected);
}

} // namespace
} // namespace sale::test
