// SPDX-License-Identifier: Apache-2.0
// Accesses of two warps to the same bytes: a race unless something orders them, whatever order they ran in.
#include "tests/emulator/machine/kernel.hpp"

#include <gmock/gmock.h>

namespace sale::emulator {
namespace {

using testing::HasSubstr;

/// Two warps' first lanes, each with its part before and after a barrier.
std::string report_of(const Kernel &first, const Kernel &second, bool barrier_between, u64 seed = 0) {
  return run(64, 1024,
             [&](Thread &thread) {
               const bool leads = thread.lane() == 0;
               if (leads && thread.warp().index() == 0) {
                 first(thread);
               }
               if (barrier_between) {
                 Barrier::wait(thread);
               }
               if (leads && thread.warp().index() == 1) {
                 second(thread);
               }
             },
             {.seed = seed})
      .report;
}

const Kernel writes = [](Thread &thread) { put(thread, 5, 1); };
const Kernel reads = [](Thread &thread) { get(thread, 5); };
const Kernel writes_then_reads = [](Thread &thread) {
  put(thread, 5, 1);
  get(thread, 5);
};
const Kernel updates = [](Thread &thread) { thread.cta().shared().update(thread, atomic, word(5), 4, 4); };

TEST(Races, ABarrierOrdersWriteAndRead) {
  EXPECT_EQ(report_of(writes, reads, true), "");
  const std::string report = report_of(writes, reads, false);
  EXPECT_THAT(report, HasSubstr("Race on shared memory: 4 bytes at 0x414 read here, and 0x414 written by warp 0 in "
                                "st.shared at test.cuh:20 in kernel, with no barrier between the two"));
  EXPECT_THAT(report, HasSubstr("by thread 32 (warp 1, lane 0)"));
  EXPECT_THAT(report, HasSubstr("at ld.shared at test.cuh:10"));
}

TEST(Races, ABarrierOrdersWriteAndWrite) {
  EXPECT_EQ(report_of(writes, writes, true), "");
  EXPECT_THAT(report_of(writes, writes, false), HasSubstr("written here, and 0x414 written by warp 0"));
}

TEST(Races, ABarrierOrdersReadAndWrite) {
  EXPECT_EQ(report_of(writes_then_reads, writes, true), "");
  const auto report = [](bool second_barrier) {
    return run(96, 1024,
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   put(thread, 5, 1);
                 }
                 Barrier::wait(thread);
                 if (thread.warp().index() == 1) {
                   get(thread, 5);
                 }
                 if (second_barrier) {
                   Barrier::wait(thread);
                 }
                 if (thread.warp().index() == 2) {
                   thread.yield(); // the others go first
                   put(thread, 5, 2);
                 }
               })
        .report;
  };
  EXPECT_EQ(report(true), "");
  EXPECT_THAT(report(false), HasSubstr("written here, and 0x414 read by warp 1 in ld.shared at test.cuh:10"));
}

TEST(Races, AreFoundWhateverOrderTheWarpsRunIn) {
  for (u64 seed = 1; seed < 50; ++seed) {
    EXPECT_THAT(report_of(writes, writes, false, seed), HasSubstr("Race on shared memory")) << seed;
    EXPECT_EQ(report_of(writes, writes, true, seed), "") << seed;
  }
}

TEST(Races, AWarpIsOrderedWithItself) {
  EXPECT_EQ(run(32, 1024,
                [](Thread &thread) {
                  put(thread, thread.lane(), 1);
                  u64 slot = 0;
                  thread.warp().collective(thread, shuffle, &slot, [](const LaneSlots &) {});
                  get(thread, 31 - thread.lane());
                  put(thread, 31 - thread.lane(), 1);
                })
                .report,
            "");
}

TEST(Races, OrderPassesThroughAThirdWarp) {
  struct Chain : State {
    Signal first, second;
    Synchronization to_second, to_third;
    bool first_done = false, second_done = false;
  };
  const auto report = [](bool acquire) {
    return run(96, 1024,
               [&](Thread &thread) {
                 static const std::string what = "the warp before";
                 auto &chain = thread.cta().state<Chain>();
                 if (thread.index() == 0) {
                   put(thread, 0, 1);
                   chain.to_second.release(thread.warp());
                   chain.first_done = true;
                   chain.first.raise();
                 } else if (thread.index() == 32) {
                   if (!chain.first_done) {
                     thread.wait(sync, chain.first, 0, what);
                   }
                   if (acquire) {
                     chain.to_second.acquire(thread.warp());
                   }
                   chain.to_third.release(thread.warp());
                   chain.second_done = true;
                   chain.second.raise();
                 } else if (thread.index() == 64) {
                   if (!chain.second_done) {
                     thread.wait(sync, chain.second, 0, what);
                   }
                   chain.to_third.acquire(thread.warp());
                   get(thread, 0);
                 }
               })
        .report;
  };
  EXPECT_EQ(report(true), "");
  EXPECT_THAT(report(false), HasSubstr("Race on shared memory"));
}

TEST(Races, WhatComesAfterAReleaseIsNotOrderedByIt) {
  struct Gate : State {
    Signal signal;
    Synchronization synchronization;
  };
  const std::string report = run(64, 1024, [](Thread &thread) {
                               static const std::string what = "the gate";
                               auto &gate = thread.cta().state<Gate>();
                               if (thread.index() == 0) {
                                 gate.synchronization.release(thread.warp());
                                 put(thread, 0, 1);
                                 gate.signal.raise();
                               } else if (thread.index() == 32) {
                                 thread.wait(sync, gate.signal, 0, what);
                                 gate.synchronization.acquire(thread.warp());
                                 get(thread, 0);
                               }
                             }).report;
  EXPECT_THAT(report, HasSubstr("Race on shared memory"));
}

TEST(Races, AtomicsDoNotRaceWithEachOtherButWithTheRest) {
  const auto report = [](bool barrier, bool plain) {
    return run(96, 1024,
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   put(thread, 5, 0);
                 }
                 Barrier::wait(thread);
                 if (thread.warp().index() < 2) {
                   updates(thread);
                 }
                 if (barrier) {
                   Barrier::wait(thread);
                 }
                 if (plain && thread.warp().index() == 2) {
                   thread.yield(); // the others go first
                   get(thread, 5);
                 }
               })
        .report;
  };
  EXPECT_EQ(report(false, false), "");
  EXPECT_EQ(report(true, true), "");
  EXPECT_THAT(report(false, true), HasSubstr("read here, and 0x414 updated atomically by warp "));
}

TEST(Races, WarpsMayWriteAndReadDifferentBytesOfAWord) {
  const auto report = [](u32 second_byte) {
    return run(64, 1024,
               [&](Thread &thread) {
                 SharedMemory &shared = thread.cta().shared();
                 const u32 mine = thread.warp().index() == 0 ? 1 : second_byte;
                 for (int round = 0; round < 3; ++round) {
                   if (thread.lane() == 0) {
                     shared.write(thread, store, word(5) + mine, 1, 1);
                     shared.read(thread, load, word(5) + mine, 1, 1);
                   }
                   if (round == 1) {
                     Barrier::wait(thread);
                   }
                 }
                 Barrier::wait(thread);
                 shared.read(thread, load, word(5) + 1, 2, 1);
                 Barrier::wait(thread);
                 if (thread.index() == 33) {
                   put(thread, 5, 0);
                   get(thread, 5);
                 }
               })
        .report;
  };
  EXPECT_EQ(report(2), "");
  EXPECT_THAT(report(1), HasSubstr("Race on shared memory: 1 bytes at 0x415 written here"));
}

TEST(Races, AByteOfASplitWordKeepsItsOwnWriter) {
  const std::string report = run(96, 1024, [](Thread &thread) {
                               SharedMemory &shared = thread.cta().shared();
                               if (thread.lane() == 0 && thread.warp().index() < 2) {
                                 shared.write(thread, store, word(5) + thread.warp().index(), 1, 1);
                               }
                               if (thread.index() == 64) {
                                 shared.read(thread, load, word(5), 1, 1); // written by warp 0, then warp 1 next to it
                               }
                             }).report;
  EXPECT_THAT(report, HasSubstr("read here, and 0x414 written by warp 0"));
}

} // namespace
} // namespace sale::emulator
