// SPDX-License-Identifier: Apache-2.0
// Hosts that do several things at once: threads that share a Plan, streams, contexts of the host's own, devices.
#include "runtime/shared_library.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace sale::test {
namespace {

constexpr int tokens = 3000;
constexpr int threads = 4;
constexpr int rounds = 25;

Problem problem() {
  Problem made;
  made.num_q_heads = 4;
  made.num_kv_heads = 2;
  return made;
}

// A stream that waits for no other.
class Stream {
public:
  explicit Stream(const Driver &driver) : library_(SharedLibrary::open(driver.file())) {
    constexpr unsigned non_blocking = 1;
    auto *create = reinterpret_cast<int (*)(cu::Stream *, unsigned)>(library_.symbol("cuStreamCreate"));
    EXPECT_EQ(create(&stream_, non_blocking), cu::success);
  }
  ~Stream() { reinterpret_cast<int (*)(cu::Stream)>(library_.symbol("cuStreamDestroy_v2"))(stream_); }
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;
  cu::Stream get() const { return stream_; }

private:
  SharedLibrary library_;
  cu::Stream stream_ = nullptr;
};

// One caller's tensors.
class Caller {
public:
  Caller(std::shared_ptr<const Device> device, const Plan &plan, unsigned seed)
      : device_(std::move(device)), q_(upload(4, seed)), k_(upload(2, seed + 1)), v_(upload(2, seed + 2)),
        out_(device_, elements(4) * sizeof(std::uint16_t)), workspace_(device_, plan.workspace_bytes(shape)) {
    args_.shape = shape;
    args_.q = packed_view(q_.data(), 4, tokens, 128);
    args_.k = packed_view(k_.data(), 2, tokens, 128);
    args_.v = packed_view(v_.data(), 2, tokens, 128);
    args_.out = packed_view(out_.data(), 4, tokens, 128);
    args_.workspace = workspace_.data();
    args_.workspace_bytes = workspace_.bytes();
  }

  void poison() {
    const std::vector<std::uint16_t> nans(elements(4), 0xFFFF);
    out_.upload(nans.data());
    const CurrentContext current(*device_);
    // The copy may still be under way, and streams of the callers' own do not wait for it.
    device_->driver().check(device_->driver().api.stream_synchronize(nullptr), "cuStreamSynchronize");
  }
  void run(const Plan &plan, cu::Stream stream) const { plan.run(args_, stream); }
  std::vector<std::uint16_t> result() const {
    std::vector<std::uint16_t> values(elements(4));
    out_.download(values.data());
    return values;
  }

  static constexpr Shape shape{1, tokens, tokens};

private:
  static std::size_t elements(int heads) { return static_cast<std::size_t>(heads) * tokens * 128; }
  DeviceArray upload(int heads, unsigned seed) {
    std::vector<std::uint16_t> values(elements(heads));
    std::uint32_t state = seed;
    for (std::uint16_t &value : values) { // bf16 of 0.5 to 1, either sign
      state = state * 1664525U + 1013904223U;
      value = static_cast<std::uint16_t>((state >> 16 & 0x8000U) | 0x3F00U | (state >> 9 & 0x7FU));
    }
    DeviceArray array(device_, values.size() * sizeof(values[0]));
    array.upload(values.data());
    return array;
  }

  std::shared_ptr<const Device> device_;
  DeviceArray q_, k_, v_, out_, workspace_;
  RunArgs args_;
};

std::vector<std::uint16_t> alone(const Plan &plan, Caller &caller) {
  caller.poison();
  caller.run(plan, nullptr);
  return caller.result();
}

class ConcurrentTest : public GpuTest {};

TEST_F(ConcurrentTest, ThreadsWithStreamsOfTheirOwnShareAPlan) {
  const auto &device = Gpu::get().device;
  const Plan plan = Engine(0, test_options()).prepare(problem(), {});
  std::vector<std::unique_ptr<Caller>> callers;
  std::vector<std::vector<std::uint16_t>> expected;
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

TEST_F(ConcurrentTest, ThreadsPrepareWhileOthersRun) {
  const auto &device = Gpu::get().device;
  const Engine engine(0, test_options());
  const Plan plan = engine.prepare(problem(), {});
  Caller caller(device, plan, 1);
  const std::vector<std::uint16_t> expected = alone(plan, caller);
  std::thread preparing([&] {
    Policy other;
    other.block_k = 64;
    for (int i = 0; i < 5; ++i) {
      engine.prepare(problem(), other);
    }
  });
  for (int round = 0; round < rounds; ++round) {
    EXPECT_EQ(alone(plan, caller), expected);
  }
  preparing.join();
}

TEST_F(ConcurrentTest, AContextOfTheHostsOwnGivesTheSameBits) {
  const auto &device = Gpu::get().device;
  const Plan plan = Engine(0, test_options()).prepare(problem(), {});
  Caller caller(device, plan, 2);
  const std::vector<std::uint16_t> expected = alone(plan, caller);
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
    const Plan other = Engine(-1, test_options()).prepare(problem(), {});
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
  const Plan plan = Engine(0, test_options()).prepare(problem(), {});
  Caller caller(first, plan, 3);
  const std::vector<std::uint16_t> expected = alone(plan, caller);
  std::thread([&] { // with no current context
    const auto second = std::make_shared<const Device>(Driver::open(), 1);
    const CurrentContext current(*second);
    const Plan other = Engine(1, test_options()).prepare(problem(), {});
    Caller there(second, other, 3);
    EXPECT_EQ(alone(other, there), expected);
  })
      .join();
  EXPECT_EQ(alone(plan, caller), expected);
}

} // namespace
} // namespace sale::test
