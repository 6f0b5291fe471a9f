// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/hopper/device.hpp"

#include <gtest/gtest.h>

#include <random>

namespace sale::emulator::test {
namespace {

constexpr u32 barrier = shared;
constexpr u32 second = shared + 8;
constexpr u32 data = shared + 1024;

void init_by_thread_0(u32 count) {
  if (current_thread().index() == 0) {
    mbarrier_init(barrier, count);
  }
  sync();
}

TEST(Mbarrier, PhasesEndWhenEveryThreadArrivedInAnyOrder) {
  for (u64 seed = 0; seed < 30; ++seed) {
    expect_run(
        [&](Thread &thread) {
          std::minstd_rand random(static_cast<u32>(seed * 1000 + thread.index()));
          init_by_thread_0(thread.cta().threads());
          for (u32 phase = 0; phase < 6; ++phase) {
            const u32 mine = data + 4 * (phase % 2 * 96 + thread.index());
            store(mine, phase * 1000 + thread.index());
            for (u32 i = random() % 4; i > 0; --i) {
              thread.yield();
            }
            mbarrier_arrive(barrier);
            mbarrier_wait(barrier, phase % 2);
            const u32 other = (thread.index() + 37) % 96;
            EXPECT_EQ(load(data + 4 * (phase % 2 * 96 + other)), phase * 1000 + other);
          }
        },
        {.threads = 96, .seed = seed});
  }
}

TEST(Mbarrier, OneArrivalCanCountForMany) {
  expect_run(
      [&](Thread &thread) {
        init_by_thread_0(33);
        if (thread.index() < 2) {
          mbarrier_arrive(barrier, thread.index() == 0 ? 32 : 1);
        }
        mbarrier_wait(barrier, 0);
      },
      {.threads = 64});
}

TEST(Mbarrier, AFreshBarrierHasCompletedThePhaseOfParity1) {
  expect_run(
      [&](Thread &) {
        mbarrier_init(barrier, 1);
        EXPECT_TRUE(mbarrier_try(barrier, 1));
        EXPECT_FALSE(mbarrier_try(barrier, 0));
        mbarrier_arrive(barrier);
        EXPECT_TRUE(mbarrier_try(barrier, 0));
      },
      {.threads = 1});
}

TEST(Mbarrier, AnArrivalReturnsTheStateToWaitFor) {
  const Instruction pending = make("mbarrier.pending_count.b64", {value(), value()});
  const Instruction test = make("mbarrier.test_wait.shared::cta.b64", {predicate(), address(), value()});
  expect_run(
      [&](Thread &) {
        mbarrier_init(barrier, 3);
        const u64 first = mbarrier_arrive(barrier);
        EXPECT_EQ(execute(pending, {0, first})[0], 3U);
        const u64 next = mbarrier_arrive(barrier);
        EXPECT_EQ(execute(pending, {0, next})[0], 2U);
        EXPECT_EQ(execute(test, {0, barrier, first})[0], 0U);
        mbarrier_arrive(barrier);
        EXPECT_EQ(execute(test, {0, barrier, first})[0], 1U);
        EXPECT_TRUE(mbarrier_try_state(barrier, next));
      },
      {.threads = 1});
}

TEST(Mbarrier, APhaseAlsoWaitsForItsBytes) {
  expect_run(
      [&](Thread &) {
        mbarrier_init(barrier, 1);
        mbarrier_arrive_expect(barrier, 4096);
        mbarrier_complete(barrier, 4000);
        EXPECT_FALSE(mbarrier_try(barrier, 0));
        mbarrier_expect(barrier, 4);
        mbarrier_complete(barrier, 100);
        EXPECT_TRUE(mbarrier_try(barrier, 0));
      },
      {.threads = 1});
}

TEST(Mbarrier, BytesMayCompleteBeforeTheyAreExpected) {
  expect_run(
      [&](Thread &) {
        mbarrier_init(barrier, 2);
        mbarrier_complete(barrier, 64);
        mbarrier_arrive(barrier);
        mbarrier_arrive_expect(barrier, 64);
        EXPECT_TRUE(mbarrier_try(barrier, 0));
      },
      {.threads = 1});
}

TEST(Mbarrier, WhoDropsOutIsNotAwaitedAgain) {
  expect_run(
      [&](Thread &) {
        mbarrier_init(barrier, 3);
        mbarrier_arrive(barrier, 2);
        mbarrier_arrive_drop(barrier);
        EXPECT_TRUE(mbarrier_try(barrier, 0));
        mbarrier_arrive(barrier, 2);
        EXPECT_TRUE(mbarrier_try(barrier, 1));
      },
      {.threads = 1});
}

TEST(Mbarrier, CanBeEndedAndItsBytesReused) {
  expect_run(
      [&](Thread &) {
        mbarrier_init(barrier, 1);
        mbarrier_inval(barrier);
        store(barrier, 7);
        EXPECT_EQ(load(barrier), 7U);
        mbarrier_init(barrier, 2);
        EXPECT_FALSE(mbarrier_try(barrier, 0));
      },
      {.threads = 1});
}

// A consumer may look at the next stage before it releases this one: what it asks for is not there yet.
TEST(Mbarrier, AWaitReturnsFalseWhenNothingElseCanRun) {
  for (u64 seed = 0; seed < 10; ++seed) {
    expect_run(
        [&](Thread &thread) {
          if (thread.index() == 0) {
            mbarrier_init(barrier, 1);
            mbarrier_init(second, 1);
          }
          sync();
          if (thread.index() == 0) {
            EXPECT_FALSE(mbarrier_try(barrier, 0)); // thread 32 waits for the arrival below
            mbarrier_arrive(second);
            mbarrier_wait(barrier, 0);
          } else if (thread.index() == 32) {
            mbarrier_wait(second, 0);
            mbarrier_arrive(barrier);
          }
        },
        {.threads = 64, .seed = seed});
  }
}

TEST(Mbarrier, AWaitForTheWrongParityIsADeadlockThatSaysWhatIsMissing) {
  expect_fault("mbarrier 0x400 to end phase 1 (parity 1), which lacks 2 of 2 arrivals and 0 bytes",
               [&](Thread &) {
                 mbarrier_init(barrier, 2);
                 mbarrier_arrive(barrier, 2);
                 mbarrier_wait(barrier, 1);
               },
               {.threads = 1});
}

// By the time that thread 32 looks for phase 0, phase 1 has ended too: the parity of phase 2 is that of phase 0.
TEST(Mbarrier, AWaitThatIsTwoPhasesLateWaitsForTheThird) {
  expect_fault("to end phase 2 (parity 0)",
               [&](Thread &thread) {
                 init_by_thread_0(1);
                 if (thread.index() == 0) {
                   mbarrier_arrive(barrier);
                   mbarrier_arrive(barrier);
                 }
                 sync();
                 if (thread.index() == 32) {
                   mbarrier_wait(barrier, 0);
                 }
               },
               {.threads = 64});
}

TEST(Mbarrier, ADeadlockSaysHowManyBytesAreMissing) {
  expect_fault("lacks 0 of 1 arrivals and 96 bytes",
               [&](Thread &) {
                 mbarrier_init(barrier, 1);
                 mbarrier_arrive_expect(barrier, 128);
                 mbarrier_complete(barrier, 32);
                 mbarrier_wait(barrier, 0);
               },
               {.threads = 1});
}

TEST(Mbarrier, WhatDidNotArriveIsNotOrdered) {
  expect_fault("Race",
               [&](Thread &thread) {
                 init_by_thread_0(1);
                 if (thread.index() == 0) {
                   mbarrier_arrive(barrier);
                   store(data, 1);
                 } else if (thread.index() == 32) {
                   mbarrier_wait(barrier, 0);
                   thread.yield();
                   thread.yield();
                   load(data);
                 }
               },
               {.threads = 64});
}

TEST(Mbarrier, ARelaxedArrivalOrdersNothing) {
  const Instruction relaxed = make("mbarrier.arrive.relaxed.cta.shared::cta.b64", {sink(), address()});
  expect_fault("Race",
               [&](Thread &thread) {
                 init_by_thread_0(1);
                 if (thread.index() == 0) {
                   store(data, 1);
                   execute(relaxed, {0, barrier});
                 } else if (thread.index() == 32) {
                   mbarrier_wait(barrier, 0);
                   load(data);
                 }
               },
               {.threads = 64});
}

void expect_fault_of_one(const std::string &words, const std::function<void()> &kernel) {
  expect_fault(words, [&](Thread &) { kernel(); }, {.threads = 1});
}

TEST(Mbarrier, MustBeInitialised) {
  expect_fault_of_one("no mbarrier was initialised at 0x400", [] { mbarrier_arrive(barrier); });
  expect_fault_of_one("no mbarrier was initialised at 0x408", [] {
    mbarrier_init(barrier, 1);
    mbarrier_try(second, 0);
  });
}

TEST(Mbarrier, CannotBeInitialisedTwice) {
  expect_fault_of_one("there is a live mbarrier at 0x400 already", [] {
    mbarrier_init(barrier, 1);
    mbarrier_init(barrier, 1);
  });
}

TEST(Mbarrier, IsAlignedToEightBytes) {
  expect_fault_of_one("0x404", [] { mbarrier_init(barrier + 4, 1); });
}

TEST(Mbarrier, CountsAreWithinTheirRange) {
  expect_fault_of_one("a count of 0 arrivals", [] { mbarrier_init(barrier, 0); });
  expect_fault_of_one("a count of 1048576 arrivals", [] { mbarrier_init(barrier, 1U << 20U); });
  expect_fault_of_one("a tx-count of 1048576 bytes", [] {
    mbarrier_init(barrier, 1);
    mbarrier_expect(barrier, 1U << 20U);
  });
  expect_fault_of_one("the tx-count of the mbarrier at 0x400 would be 1100000", [] {
    mbarrier_init(barrier, 1);
    mbarrier_expect(barrier, 600000);
    mbarrier_expect(barrier, 500000);
  });
}

TEST(Mbarrier, TakesNoMoreArrivalsThanItLacks) {
  expect_fault_of_one("3 arrivals on the mbarrier at 0x400, whose phase 1 lacks only 2 of 4", [] {
    mbarrier_init(barrier, 4);
    mbarrier_arrive(barrier, 4);
    mbarrier_arrive(barrier, 2);
    mbarrier_arrive(barrier, 3);
  });
}

TEST(Mbarrier, ItsBytesAreOpaque) {
  expect_fault_of_one("mbarrier.init", [] {
    mbarrier_init(barrier, 1);
    load(barrier);
  });
  expect_fault_of_one("mbarrier.init", [] {
    mbarrier_init(barrier, 1);
    store(barrier + 4, 0);
  });
}

TEST(Mbarrier, ItsInitialisationComesBeforeItsUse) {
  expect_fault("race on the mbarrier at 0x400: thread 0 initialised it",
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   mbarrier_init(barrier, 1);
                 } else if (thread.index() == 32) {
                   thread.yield();
                   thread.yield();
                   mbarrier_arrive(barrier);
                 }
               },
               {.threads = 64});
}

TEST(Mbarrier, StatesAndParitiesAreChecked) {
  expect_fault_of_one("a phase parity of 2", [] {
    mbarrier_init(barrier, 1);
    mbarrier_try(barrier, 2);
  });
  expect_fault_of_one("0x1234 is no state", [] {
    mbarrier_init(barrier, 1);
    mbarrier_try_state(barrier, 0x1234);
  });
  expect_fault_of_one("a state of phase 0, but the mbarrier is in phase 2", [] {
    mbarrier_init(barrier, 1);
    const u64 state = mbarrier_arrive(barrier);
    mbarrier_arrive(barrier);
    mbarrier_try_state(barrier, state);
  });
}

TEST(Mbarrier, EndsAfterTheOthersWaits) {
  const auto kernel = [](Thread &thread, bool ordered) {
    init_by_thread_0(64);
    mbarrier_arrive(barrier);
    mbarrier_wait(barrier, 0);
    if (ordered) {
      sync();
    }
    for (u32 i = 0; thread.index() == 0 && i < 1000; ++i) { // the others' waits are over, by luck
      thread.yield();
    }
    if (thread.index() == 0) {
      mbarrier_inval(barrier);
    }
  };
  expect_run([&](Thread &thread) { kernel(thread, true); }, {.threads = 64});
  expect_fault("warp 1 waited for it, and no barrier stands between", [&](Thread &thread) { kernel(thread, false); },
               {.threads = 64});
}

TEST(Mbarrier, CannotEndWhileThreadsWait) {
  expect_fault("1 threads wait for the mbarrier at 0x400",
               [&](Thread &thread) {
                 init_by_thread_0(1);
                 if (thread.index() == 0) {
                   for (int i = 0; i < 10; ++i) {
                     thread.yield();
                   }
                   mbarrier_inval(barrier);
                 } else if (thread.index() == 32) {
                   mbarrier_wait(barrier, 0);
                 }
               },
               {.threads = 64});
}

} // namespace
} // namespace sale::emulator::test
