// SPDX-License-Identifier: Apache-2.0
// Waiting, yielding, events, deadlocks, and the state that threads keep.
#include "tests/emulator/machine/kernel.hpp"

#include <gmock/gmock.h>

#include <array>
#include <vector>

namespace sale::emulator {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;

struct Flag : State {
  Signal signal;
};

void wait_for_flag(Thread &thread, const std::string &what) {
  const Signal &signal = thread.cta().state<Flag>().signal;
  thread.wait(sync, signal, signal.generation(), what);
}

TEST(Threads, WaitUntilTheSignalIsRaised) {
  int woken = 0;
  const Outcome outcome = run(96, 0, [&](Thread &thread) {
    static const std::string what = "the flag";
    if (thread.index() == 95) {
      EXPECT_EQ(woken, 0);
      thread.cta().state<Flag>().signal.raise();
    } else {
      wait_for_flag(thread, what);
      ++woken;
    }
  });
  EXPECT_EQ(outcome.report, "");
  EXPECT_EQ(woken, 95);
}

TEST(Threads, AYieldLetsOtherWarpsRunAtOnce) {
  std::vector<u32> order;
  const Outcome outcome = run(96, 0, [&](Thread &thread) {
    if (thread.lane() == 0) {
      order.push_back(thread.warp().index());
      thread.yield();
      order.push_back(10 + thread.warp().index());
    }
  });
  EXPECT_EQ(outcome.report, "");
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 10, 11, 12));
}

TEST(Threads, EventsLandInOrderWhenNoThreadCanRun) {
  std::vector<int> landed;
  const Outcome outcome = run(64, 0, [&](Thread &thread) {
    static const std::string what = "the flag";
    if (thread.index() == 0) {
      thread.cta().post([&] { landed.push_back(1); });
      Signal &signal = thread.cta().state<Flag>().signal;
      thread.cta().post([&landed, &signal] {
        landed.push_back(2);
        signal.raise();
      });
    }
    EXPECT_TRUE(landed.empty());
    wait_for_flag(thread, what);
    EXPECT_EQ(landed.size(), 2U);
  });
  EXPECT_EQ(outcome.report, "");
}

TEST(Threads, EventsStillLandWhenEveryThreadHasReturned) {
  bool landed = false;
  const Outcome outcome = run(1, 0, [&](Thread &thread) { thread.cta().post([&] { landed = true; }); });
  EXPECT_EQ(outcome.report, "");
  EXPECT_TRUE(landed);
}

TEST(Threads, ThreadsThatSpinLetEventsLand) {
  bool landed = false;
  const Outcome outcome = run(32, 0, [&](Thread &thread) {
    if (thread.index() == 0) {
      thread.cta().post([&] { landed = true; });
    }
    while (!landed) {
      thread.yield();
    }
  });
  EXPECT_EQ(outcome.report, "");
}

TEST(Threads, ADeadlockReportSaysWhoWaitsWhereForWhat) {
  const Outcome outcome = run(96, 0, [&](Thread &thread) {
    static const std::string what = "mbarrier 0x480, phase parity 1";
    if (thread.index() < 40) {
      wait_for_flag(thread, what);
    } else if (thread.warp().index() == 2) {
      Barrier::wait(thread);
    }
  });
  EXPECT_EQ(outcome.report, R"(Deadlock in CTA (0, 0, 0): no thread can run
  warp 0 lanes 0-31: waits for mbarrier 0x480, phase parity 1
    at bar.sync at test.cuh:30 in kernel
  warp 1 lanes 0-7: waits for mbarrier 0x480, phase parity 1
    at bar.sync at test.cuh:30 in kernel
  warp 1 lanes 8-31: returned
  warp 2 lanes 0-31: waits for barrier 0
    at bar.sync at test.cuh:30 in kernel)");
}

TEST(Threads, ADeadlockInACollectiveNamesTheLanesThatWait) {
  const Outcome outcome = run(32, 0, [&](Thread &thread) {
    static const std::string what = "the flag";
    if (thread.lane() == 3) {
      wait_for_flag(thread, what);
    }
    u64 slot = 0;
    thread.warp().collective(thread, shuffle, &slot, [](const LaneSlots &) {});
  });
  EXPECT_THAT(outcome.report, HasSubstr("warp 0 lanes 0-2, 4-31: waits for the other lanes of the collective\n"
                                        "    at shfl.sync at test.cuh:40 in kernel"));
  EXPECT_THAT(outcome.report, HasSubstr("warp 0 lane 3: waits for the flag"));
}

TEST(Threads, TheirStackIsTheirOwn) {
  const Outcome outcome = run(64, 0, [&](Thread &thread) {
    int local = 0;
    EXPECT_TRUE(thread.on_stack(&local, sizeof local));
    EXPECT_FALSE(thread.cta().thread(thread.index() ^ 1U).on_stack(&local, sizeof local));
    EXPECT_FALSE(thread.on_stack(&thread, 1));
  });
  EXPECT_EQ(outcome.report, "");
}

TEST(Threads, HaveStacksOf200KiB) {
  const Outcome outcome = run(64, 0, [&](Thread &thread) {
    volatile char local[200 << 10];
    local[0] = static_cast<char>(thread.index());
    thread.yield();
    EXPECT_EQ(local[0], static_cast<char>(thread.index()));
  });
  EXPECT_EQ(outcome.report, "");
}

struct Counter : State {
  static inline int alive = 0;
  static inline int returned = 0;
  Counter() { ++alive; }
  ~Counter() override { --alive; }
  Counter(const Counter &) = delete;
  Counter &operator=(const Counter &) = delete;
  void at_return(Thread &thread) override { returned += thread.cta().running() < thread.cta().threads() ? 1 : 100; }
};

TEST(Threads, StatesAreToldWhenTheirThreadReturnsAndDieWithTheCta) {
  Counter::returned = 0;
  const Outcome outcome = run({.grid = {3, 1, 1}, .block = {32, 1, 1}},
                              [&](Thread &thread) {
                                thread.state<Counter>();
                                thread.warp().state<Counter>();
                                thread.cta().state<Counter>();
                                if (thread.index() == 0) {
                                  EXPECT_LE(Counter::alive, 3);
                                }
                              },
                              {.workers = 1});
  EXPECT_EQ(outcome.report, "");
  EXPECT_EQ(Counter::returned, 3 * 3 * 32);
  EXPECT_EQ(Counter::alive, 0);
}

TEST(Threads, StatesDieWhenALaunchFails) {
  const Outcome outcome = run(64, 0, [&](Thread &thread) {
    thread.state<Counter>();
    if (thread.index() == 40) {
      fault(thread, load, "Wrong");
    }
    Barrier::wait(thread);
  });
  EXPECT_EQ(outcome.report,
            "Wrong\n  by thread 40 (warp 1, lane 8) of CTA (0, 0, 0)\n  at ld.shared at test.cuh:10 in kernel");
  EXPECT_EQ(Counter::alive, 0);
}

TEST(Threads, NoWarpIsFavouredInRandomOrders) {
  std::array<int, 3> wins{};
  for (u64 seed = 1; seed <= 30; ++seed) {
    bool over = false;
    const Outcome outcome = run(96, 0,
                                [&](Thread &thread) {
                                  for (int i = 0; i < 20 && !over; ++i) {
                                    thread.yield();
                                  }
                                  wins[thread.warp().index()] += over ? 0 : 1;
                                  over = true;
                                },
                                {.seed = seed});
    EXPECT_EQ(outcome.report, "");
  }
  EXPECT_THAT(wins, Each(Ge(3)));
}

struct Forgetful : State {
  std::string left_behind() const override { return "Barrier 3 was left with 5 threads"; }
};

TEST(Threads, WhatWasLeftBehindIsReported) {
  const Outcome outcome = run(32, 0, [&](Thread &thread) { thread.cta().state<Forgetful>(); });
  EXPECT_EQ(outcome.report, "Barrier 3 was left with 5 threads\n  when CTA (0, 0, 0) ended");
}

TEST(Threads, AnExceptionIsAReport) {
  const Outcome outcome = run(32, 0, [&](Thread &) { throw std::runtime_error("no such thing"); });
  EXPECT_THAT(outcome.report, HasSubstr("no such thing"));
}

} // namespace
} // namespace sale::emulator
