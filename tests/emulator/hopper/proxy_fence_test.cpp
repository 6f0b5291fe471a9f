// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/hopper/device.hpp"

#include <gtest/gtest.h>

namespace sale::emulator::test {
namespace {

constexpr u32 data = shared;

TEST(ClusterBarrier, IsABarrierOfTheCta) {
  const Instruction arrive = make("barrier.cluster.arrive.release.aligned", {});
  const Instruction wait = make("barrier.cluster.wait.acquire.aligned", {});
  for (u64 seed = 0; seed < 10; ++seed) {
    expect_run(
        [&](Thread &thread) {
          if (thread.index() == 95) {
            return; // is not awaited
          }
          for (u32 round = 0; round < 4; ++round) {
            store(data + 512 * (round % 2) + 4 * thread.index(), round + thread.index());
            execute(arrive);
            execute(wait);
            const u32 other = (thread.index() + 50) % 95;
            EXPECT_EQ(load(data + 512 * (round % 2) + 4 * other), round + other);
          }
        },
        {.threads = 96, .seed = seed});
  }
}

TEST(ClusterBarrier, ArrivalsAndWaitsAlternate) {
  const Instruction arrive = make("barrier.cluster.arrive", {});
  const Instruction wait = make("barrier.cluster.wait", {});
  expect_fault("barrier.cluster.wait without barrier.cluster.arrive", [&](Thread &) { execute(wait); });
  expect_fault("barrier.cluster.arrive again", [&](Thread &) {
    execute(arrive);
    execute(arrive);
  });
}

TEST(Cluster, HasOneCta) {
  const Instruction map = make("mapa.shared::cluster.u32", {value(), value(), value()});
  const Instruction rank = make("getctarank.shared::cluster.u32", {value(), value()});
  expect_run([&](Thread &) {
    EXPECT_EQ(execute(map, {0, 0x480, 0})[0], 0x480U);
    EXPECT_EQ(execute(rank, {7, 0x480})[0], 0U);
  });
  expect_fault("CTA 1 of the cluster", [&](Thread &) { execute(map, {0, 0x480, 1}); });
}

TEST(ProxyFence, OfTensorMapsDoesNothing) {
  const Instruction fence = make("fence.proxy.tensormap::generic.acquire.gpu", {address(), value()});
  expect_run([&](Thread &) { execute(fence, {0, 128}); });
}

} // namespace
} // namespace sale::emulator::test
