// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/instructions/harness.hpp"

#include <gtest/gtest.h>

namespace sale::emulator::test {
namespace {

const Instruction &store() {
  static const Instruction instruction = make("st.shared.b32", {address(), value()});
  return instruction;
}

const Instruction &load() {
  static const Instruction instruction = make("ld.shared.b32", {value(), address()});
  return instruction;
}

TEST(Barrier, OrdersSharedMemoryBetweenWarps) {
  const Instruction sync = make("bar.sync", {value()});
  for (const u64 seed : {0U, 1U, 2U, 3U}) {
    expect_run(
        [&](Thread &thread) {
          const u32 mine = thread.index();
          for (u32 round = 0; round < 3; ++round) {
            execute(store(), {shared + 4 * mine, 100 * round + mine});
            execute(sync);
            const u32 other = (mine + 32) % 128;
            EXPECT_EQ(execute(load(), {0, shared + 4 * other})[0], 100 * round + other);
            execute(sync);
          }
        },
        {.threads = 128, .seed = seed});
  }
}

TEST(Barrier, WithoutItAReadRaces) {
  expect_fault("Race",
               [&](Thread &thread) {
                 if (thread.index() < 32) {
                   execute(store(), {shared + 4 * thread.lane(), 1});
                 } else {
                   thread.yield();
                   thread.yield();
                   execute(load(), {0, shared + 4 * thread.lane()});
                 }
               },
               {.threads = 64});
}

TEST(Barrier, ProducersArriveWithoutWaiting) {
  const Instruction sync = make("barrier.cta.sync.aligned", {value(), value()});
  const Instruction sync_first = sync;
  const Instruction arrive = make("bar.arrive", {value(), value()});
  expect_run(
      [&](Thread &thread) {
        if (thread.index() >= 64) {
          execute(store(), {shared + 4 * thread.lane(), 5});
          execute(arrive, {3, 96});
          execute(sync, {4, 96}); // whom the consumers await before barrier 3
        } else {
          execute(sync_first, {4, 96});
          execute(sync, {3, 96});
          EXPECT_EQ(execute(load(), {0, shared + 4 * thread.lane()})[0], 5U);
        }
      },
      {.threads = 96});
}

TEST(Barrier, BarrierZeroDoesNotAwaitThreadsThatReturned) {
  const Instruction sync = make("bar.sync", {value()});
  for (const u32 staying : {32U, 40U, 64U}) {
    u32 passed = 0;
    expect_run(
        [&](Thread &thread) {
          if (thread.index() < staying) {
            execute(sync);
            ++passed;
          }
        },
        {.threads = 128});
    EXPECT_EQ(passed, staying);
  }
}

TEST(Barrier, ReductionsCountEveryThread) {
  const Instruction popc = make("barrier.cta.red.popc.aligned.u32", {value(), value(), predicate()});
  const Instruction all = make("bar.red.and.pred", {predicate(), value(), value(), predicate()});
  const Instruction any = make("bar.red.or.pred", {predicate(), value(), predicate()});
  expect_run(
      [&](Thread &thread) {
        const u32 index = thread.index();
        EXPECT_EQ(execute(popc, {0, 0, index % 3 == 0 ? u64{1} : 0})[0], 22U);
        EXPECT_EQ(execute(all, {7, 0, 64, 1})[0], 1U);
        EXPECT_EQ(execute(all, {7, 0, 64, index != 40 ? u64{1} : 0})[0], 0U);
        EXPECT_EQ(execute(any, {7, 0, index == 40 ? u64{1} : 0})[0], 1U);
        EXPECT_EQ(execute(any, {7, 0, 0})[0], 0U);
      },
      {.threads = 64});
}

TEST(Barrier, WrongCountsFault) {
  const Instruction sync = make("bar.sync", {value(), value()});
  expect_fault("multiple of 32", [&](Thread &) { execute(sync, {1, 40}); }, {.threads = 64});
  expect_fault("at most the CTA's 64", [&](Thread &) { execute(sync, {1, 96}); }, {.threads = 64});
  expect_fault("barrier 16: a CTA has 16", [&](Thread &) { execute(sync, {16, 64}); }, {.threads = 64});
  expect_fault("barrier 1 is to have", [&](Thread &thread) { execute(sync, {1, thread.index() < 32 ? 96U : 64U}); },
               {.threads = 96});
}

TEST(Barrier, LanesAtDifferentBarriersFault) {
  const Instruction one = make("bar.sync", {value()});
  const Instruction other = make("bar.sync", {value()});
  const Instruction free = make("barrier.sync", {value()});
  const Instruction free_too = make("barrier.sync", {value()});
  expect_fault("lanes of one warp meet barrier 0 at different instructions",
               [&](Thread &thread) { execute(thread.lane() < 16 ? one : other); });
  expect_run([&](Thread &thread) { execute(thread.lane() < 16 ? free : free_too); });
}

TEST(Barrier, AMissingWarpIsADeadlock) {
  const Instruction sync = make("bar.sync", {value(), value()});
  expect_fault("barrier 2 of 64 threads",
               [&](Thread &thread) {
                 if (thread.index() < 32) {
                   execute(sync, {2, 64});
                 }
               },
               {.threads = 64});
}

TEST(Barrier, WarpsTakeTurnsWithAnArrivalMoreThanWaits) {
  const Instruction start = make("bar.arrive", {value(), value()});
  const Instruction take = make("bar.sync", {value(), value()});
  const Instruction pass = make("bar.arrive", {value(), value()});
  const u32 counter = shared;
  for (u64 seed = 0; seed < 6; ++seed) {
    expect_run(
        [&](Thread &thread) {
          const u32 self = thread.index() / 32;
          if (self == 0) {
            execute(start, {1, 64}); // itself, so that it goes first: the last pass finds nobody
            if (thread.lane() == 0) {
              execute(store(), {counter, 0});
            }
          }
          for (u32 round = 0; round < 4; ++round) {
            execute(take, {1 + self, 64});
            if (thread.lane() == 0) {
              EXPECT_EQ(execute(load(), {0, counter})[0], 2 * round + self);
              execute(store(), {counter, 2 * round + self + 1});
            }
            execute(pass, {2 - self, 64});
          }
        },
        {.threads = 64, .seed = seed});
  }
}

TEST(Barrier, LanesThatMeetInAnotherOrderFault) {
  const Instruction arrive = make("bar.arrive", {value(), value()});
  const Instruction sync = make("bar.sync", {value(), value()});
  expect_fault("lanes of one warp meet barrier 1 at different instructions",
               [&](Thread &thread) {
                 const bool low = thread.lane() < 16;
                 execute(low ? arrive : sync, {1, 64});
                 execute(low ? sync : arrive, {1, 64});
               },
               {.threads = 64});
}

} // namespace
} // namespace sale::emulator::test
