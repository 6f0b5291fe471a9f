// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/hopper/device.hpp"

#include "emulator/instructions/registry.hpp"

#include <gtest/gtest.h>

namespace sale::emulator::test {
namespace {

constexpr u32 barrier = shared;
constexpr u32 buffer = shared + 1024;

void init_and_fence(u32 count = 1) {
  mbarrier_init(barrier, count);
  fence_mbarrier_init();
}

void expect_fault_of_one(const std::string &words, const std::function<void()> &kernel) {
  expect_fault(words, [&](Thread &) { kernel(); }, {.threads = 1});
}

TEST(BulkLoad, BringsBytesToWhoeverWaits) {
  Words source(256);
  source.fill_counting(1000);
  for (u64 seed = 0; seed < 20; ++seed) {
    expect_run(
        [&](Thread &thread) {
          if (thread.index() == 0) {
            init_and_fence();
          }
          sync();
          if (thread.index() == 0) {
            mbarrier_arrive_expect(barrier, 1024);
            bulk_load(buffer, &source[0], 512, barrier);
            bulk_load(buffer + 512, &source[128], 512, barrier);
          }
          mbarrier_wait(barrier, 0);
          for (u32 i = thread.index(); i < 256; i += 64) {
            EXPECT_EQ(load(buffer + 4 * i), 1000 + i);
          }
        },
        {.threads = 64, .seed = seed});
  }
}

// Producer and consumers of a ring of two stages.
TEST(BulkLoad, FillsARingOfStages) {
  constexpr u32 stages = 2;
  constexpr u32 rounds = 7;
  constexpr u32 empty = barrier + 8 * stages;
  Words source(rounds * 32);
  source.fill_counting();
  for (u64 seed = 0; seed < 20; ++seed) {
    expect_run(
        [&](Thread &thread) {
          if (thread.index() == 0) {
            for (u32 i = 0; i < stages; ++i) {
              mbarrier_init(barrier + 8 * i, 1);
              mbarrier_init(empty + 8 * i, 64);
            }
            fence_mbarrier_init();
          }
          sync();
          for (u32 round = 0; round < rounds; ++round) {
            const u32 stage = round % stages;
            const u32 parity = round / stages % 2;
            if (thread.index() == 0) {
              mbarrier_wait(empty + 8 * stage, parity ^ 1U);
              mbarrier_arrive_expect(barrier + 8 * stage, 128);
              bulk_load(buffer + 128 * stage, &source[32 * round], 128, barrier + 8 * stage);
            } else if (thread.index() >= 32) {
              mbarrier_wait(barrier + 8 * stage, parity);
              EXPECT_EQ(load(buffer + 128 * stage + 4 * thread.lane()), 32 * round + thread.lane());
              mbarrier_arrive(empty + 8 * stage);
            }
          }
        },
        {.threads = 96, .seed = seed});
  }
}

TEST(BulkLoad, OverwritesWhatWasReadOnlyWhenThatIsOrdered) {
  Words source(32);
  source.fill_counting();
  expect_fault("Race",
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   init_and_fence();
                   mbarrier_arrive_expect(barrier, 128);
                   bulk_load(buffer, &source[0], 128, barrier);
                 }
                 sync();
                 mbarrier_wait(barrier, 0);
                 load(buffer + 4 * thread.lane());
                 if (thread.index() == 0) {
                   thread.yield();
                   thread.yield();
                   bulk_load(buffer, &source[0], 128, barrier);
                 }
               },
               {.threads = 64});
}

TEST(BulkLoad, ItsBytesAreNotThereBeforeTheWait) {
  Words source(32);
  source.fill_counting();
  expect_fault_of_one("in flight since cp.async.bulk", [&] {
    init_and_fence();
    mbarrier_arrive_expect(barrier, 128);
    bulk_load(buffer, &source[0], 128, barrier);
    load(buffer);
  });
}

TEST(BulkLoad, TooManyExpectedBytesAreADeadlock) {
  Words source(32);
  source.fill_counting();
  expect_fault_of_one("lacks 0 of 1 arrivals and 128 bytes", [&] {
    init_and_fence();
    mbarrier_arrive_expect(barrier, 256);
    bulk_load(buffer, &source[0], 128, barrier);
    mbarrier_wait(barrier, 0);
  });
}

TEST(BulkLoad, TooFewExpectedBytesAreADeadlock) {
  Words source(32);
  source.fill_counting();
  expect_fault_of_one("lacks 0 of 1 arrivals and -64 bytes", [&] {
    init_and_fence();
    mbarrier_arrive_expect(barrier, 64);
    bulk_load(buffer, &source[0], 128, barrier);
    mbarrier_wait(barrier, 0);
  });
}

TEST(BulkLoad, NeedsAFenceAfterTheInitialisation) {
  Words source(32);
  expect_fault_of_one("thread 0 initialised it without fence.mbarrier_init", [&] {
    mbarrier_init(barrier, 1);
    mbarrier_arrive_expect(barrier, 128);
    bulk_load(buffer, &source[0], 128, barrier);
  });
  source.fill_counting();
  expect_run(
      [&](Thread &) {
        mbarrier_init(barrier, 1);
        fence_async();
        mbarrier_arrive_expect(barrier, 128);
        bulk_load(buffer, &source[0], 128, barrier);
        mbarrier_wait(barrier, 0);
      },
      {.threads = 1});
}

TEST(BulkLoad, AProxyFenceOfTheIssuingThreadWillDo) {
  Words source(32);
  source.fill_counting();
  const auto kernel = [&](Thread &thread, bool ordered) {
    if (thread.index() == 0) {
      mbarrier_init(barrier, 1);
    }
    if (ordered) {
      sync();
    }
    if (thread.index() == 32) {
      fence_async();
      mbarrier_arrive_expect(barrier, 128);
      bulk_load(buffer, &source[0], 128, barrier);
      mbarrier_wait(barrier, 0);
    }
  };
  expect_run([&](Thread &thread) { kernel(thread, true); }, {.threads = 64});
  expect_fault("race on the mbarrier", [&](Thread &thread) { kernel(thread, false); }, {.threads = 64});
}

TEST(BulkLoad, MustLandBeforeTheLastThreadReturns) {
  Words source(32);
  expect_fault_of_one("a copy was in flight when the last thread returned, cp.async.bulk", [&] {
    init_and_fence();
    mbarrier_arrive_expect(barrier, 128);
    bulk_load(buffer, &source[0], 128, barrier);
  });
}

TEST(BulkLoad, SizesAndAddressesAreMultiplesOf16) {
  Words source(32);
  expect_fault_of_one("24 bytes; a bulk copy's size", [&] {
    init_and_fence();
    bulk_load(buffer, &source[0], 24, barrier);
  });
  expect_fault_of_one("0 bytes; a bulk copy's size", [&] {
    init_and_fence();
    bulk_load(buffer, &source[0], 0, barrier);
  });
  expect_fault_of_one("multiple of 16", [&] {
    init_and_fence();
    bulk_load(buffer + 8, &source[0], 16, barrier);
  });
  expect_fault_of_one("multiple of 16", [&] {
    init_and_fence();
    bulk_load(buffer, &source[1], 16, barrier);
  });
}

TEST(BulkLoad, StaysWithinBothMemories) {
  Words source(32);
  expect_fault_of_one("lobal", [&] {
    init_and_fence();
    bulk_load(buffer, &source[0], 144, barrier);
  });
  expect_fault_of_one("hared", [&] {
    init_and_fence();
    bulk_load(shared + 4096 - 64, &source[0], 128, barrier);
  });
}

TEST(BulkLoad, ABarrierCannotEndWhileACopyIsInFlight) {
  Words source(32);
  expect_fault_of_one("1 copies that complete on the mbarrier at 0x400 are in flight", [&] {
    init_and_fence();
    mbarrier_arrive_expect(barrier, 128);
    bulk_load(buffer, &source[0], 128, barrier);
    mbarrier_inval(barrier);
  });
}

TEST(BulkStore, WritesWhatTheSourceHolds) {
  Words destination(64);
  for (u64 seed = 0; seed < 10; ++seed) {
    expect_run(
        [&](Thread &thread) {
          store(buffer + 4 * thread.index(), 5 * thread.index());
          fence_async();
          sync();
          if (thread.index() == 0) {
            bulk_store(&destination[0], buffer, 128);
            bulk_store(&destination[32], buffer + 128, 128);
            bulk_commit();
            bulk_wait(0);
          }
        },
        {.threads = 64, .seed = seed});
    for (u32 i = 0; i < 64; ++i) {
      EXPECT_EQ(destination[i], 5 * i);
    }
  }
}

// Groups end in order: with one pending, the first one's source is free.
TEST(BulkStore, TheSourceMayBeOverwrittenAfterTheReadsAreWaitedFor) {
  Words destination(8);
  expect_run(
      [&](Thread &) {
        for (u32 round = 0; round < 2; ++round) {
          for (u32 i = 0; i < 4; ++i) {
            store(buffer + 16 * round + 4 * i, 10 * round + i);
          }
          fence_async();
          bulk_store(&destination[4 * round], buffer + 16 * round, 16);
          bulk_commit();
        }
        bulk_wait_read(1);
        store(buffer, 99);
        bulk_wait_read(0);
        store(buffer + 16, 99);
      },
      {.threads = 1});
  for (u32 i = 0; i < 4; ++i) {
    EXPECT_EQ(destination[i], i);
    EXPECT_EQ(destination[4 + i], 10 + i);
  }
}

TEST(BulkStore, TheSourceMustNotBeOverwrittenBefore) {
  Words destination(32);
  expect_fault_of_one("in flight since cp.async.bulk.global", [&] {
    store_bytes(buffer, std::vector<u8>(128, 1));
    fence_async();
    bulk_store(&destination[0], buffer, 128);
    bulk_commit();
    bulk_wait_read(1);
    store(buffer + 64, 0);
  });
}

TEST(BulkStore, NeedsAProxyFenceAfterPlainStores) {
  Words destination(32);
  expect_fault_of_one("no fence.proxy.async", [&] {
    store_bytes(buffer, std::vector<u8>(128, 1));
    bulk_store(&destination[0], buffer, 128);
  });
}

TEST(BulkStore, AProxyFenceOfGlobalMemoryIsNotEnough) {
  Words destination(32);
  const Instruction fence = make("fence.proxy.async.global", {});
  expect_fault_of_one("no fence.proxy.async", [&] {
    store_bytes(buffer, std::vector<u8>(128, 1));
    execute(fence);
    bulk_store(&destination[0], buffer, 128);
  });
}

TEST(BulkStore, MustBeWaitedForBeforeTheThreadReturns) {
  Words destination(32);
  const auto begin = [&] {
    store_bytes(buffer, std::vector<u8>(128, 1));
    fence_async();
    bulk_store(&destination[0], buffer, 128);
  };
  expect_fault_of_one("cp.async.bulk.commit_group must come first", begin);
  expect_fault_of_one("cp.async.bulk.wait_group must come first", [&] {
    begin();
    bulk_commit();
  });
}

TEST(BulkStore, ReadsWhatWasInitialised) {
  Words destination(32);
  expect_fault_of_one("ninitialised", [&] { bulk_store(&destination[0], buffer, 128); });
}

TEST(BulkPrefetch, IsCheckedAndDoesNothing) {
  const Instruction prefetch = make("cp.async.bulk.prefetch.L2.global", {address(), value()});
  Words source(32);
  expect_run([&](Thread &) { execute(prefetch, {source.at(0), 128}); }, {.threads = 1});
  expect_fault_of_one("lobal", [&] { execute(prefetch, {source.at(0), 256}); });
}

TEST(BulkCopy, OtherFormsAreUnknown) {
  for (const char *opcode : {"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster",
                             "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes",
                             "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32", "cp.async.bulk.global",
                             "mbarrier", "wgmma", "fence.proxy"}) {
    Instruction instruction;
    std::string part;
    for (const char *c = opcode;; ++c) {
      if (*c == '.' || *c == '\0') {
        instruction.parts.push_back(part);
        part.clear();
      } else {
        part += *c;
      }
      if (*c == '\0') {
        break;
      }
    }
    EXPECT_EQ(find_handler(instruction), nullptr) << opcode;
  }
}

} // namespace
} // namespace sale::emulator::test
