// SPDX-License-Identifier: Apache-2.0
// Asynchronous copies into and reads of shared memory, and the fence between the proxies.
#include "tests/emulator/machine/kernel.hpp"

#include <gmock/gmock.h>

#include <array>

namespace sale::emulator {
namespace {

using testing::HasSubstr;

const Instruction tensor_load = make_instruction("cp", "async", 80);
const Instruction tensor_core = make_instruction("wgmma", "mma_async", 90);
constexpr std::array<u8, 16> bytes{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

std::string report_of(const Kernel &kernel) { return run(1, 1024, kernel).report; }

AsyncAccess begin_write(Thread &thread, u32 index) {
  return thread.cta().shared().begin_write(thread, copy, word(index), 16, 16);
}
AsyncAccess begin_read(Thread &thread, u32 index, Proxy proxy) {
  return thread.cta().shared().begin_read(thread, tensor_core, word(index), 16, 16, proxy);
}

TEST(AsyncMemory, ACopyIsReadableOnceItLanded) {
  EXPECT_EQ(report_of([](Thread &thread) {
              const AsyncAccess access = begin_write(thread, 4);
              EXPECT_EQ(thread.cta().shared().base()[16], 0xff);
              thread.cta().shared().land_for(thread.warp(), access, bytes.data());
              EXPECT_EQ(get(thread, 5), 0x08070605U);
            }),
            "");
}

TEST(AsyncMemory, ACopyInFlightMayNotBeTouched) {
  const std::vector<Kernel> accesses{
      [](Thread &thread) { get(thread, 7); },
      [](Thread &thread) { put(thread, 4, 1); },
      [](Thread &thread) { thread.cta().shared().update(thread, atomic, word(4), 4, 4); },
      [](Thread &thread) { begin_write(thread, 4); },
      [](Thread &thread) { begin_read(thread, 4, Proxy::generic); },
  };
  for (const Kernel &access : accesses) {
    const std::string report = report_of([&](Thread &thread) {
      begin_write(thread, 0);
      begin_write(thread, 4);
      access(thread);
    });
    EXPECT_THAT(report, HasSubstr("while an asynchronous operation of warp 0 writes it, which nobody waited for"));
    EXPECT_THAT(report, HasSubstr("in flight since cp.async at test.cuh:60 in kernel"));
  }
}

TEST(AsyncMemory, ACopyThatNobodyWaitedForIsReportedAtTheEnd) {
  EXPECT_THAT(report_of([](Thread &thread) { begin_write(thread, 4); }),
              HasSubstr("[0x410, 0x420) is still being written asynchronously when CTA (0, 0, 0) ended"));
}

TEST(AsyncMemory, AnotherWarpReadsACopyOnlyAfterABarrier) {
  const auto report = [](bool barrier) {
    return run(64, 1024,
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   thread.cta().shared().land_for(thread.warp(), begin_write(thread, 4), bytes.data());
                 }
                 if (barrier) {
                   Barrier::wait(thread);
                 }
                 if (thread.index() == 32) {
                   get(thread, 4);
                 }
               })
        .report;
  };
  EXPECT_EQ(report(true), "");
  EXPECT_THAT(report(false), HasSubstr("read here, and 0x410 written by warp 0 in cp.async at test.cuh:60"));
}

TEST(AsyncMemory, ACopyOverWhatOthersStillReadIsARace) {
  const auto report = [](bool barrier) {
    return run(64, 1024,
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   thread.cta().shared().land_for(thread.warp(), begin_write(thread, 4), bytes.data());
                 }
                 Barrier::wait(thread);
                 if (thread.warp().index() == 0) {
                   get(thread, 4);
                 }
                 if (barrier) {
                   Barrier::wait(thread);
                 }
                 if (thread.index() == 32) {
                   thread.yield(); // the other goes first
                   thread.cta().shared().land_for(thread.warp(), begin_write(thread, 4), bytes.data());
                 }
               })
        .report;
  };
  EXPECT_EQ(report(true), "");
  EXPECT_THAT(report(false), HasSubstr("written here, and 0x410 read by warp 0"));
}

/// A copy by warp 0 that completes on an mbarrier; warp 1 waits for it.
struct Completion : State {
  Signal signal;
  Synchronization synchronization;
  bool done = false;

  static void copy_to(Thread &thread, u32 index, Proxy proxy) {
    auto &completion = thread.cta().state<Completion>();
    const AsyncAccess access = thread.cta().shared().begin_write(thread, tensor_load, word(index), 16, 16);
    const Actor agent = thread.cta().new_agent();
    thread.cta().post([&completion, &thread, access, agent, proxy] {
      thread.cta().shared().land_on(completion.synchronization, agent, access, bytes.data(), proxy);
      completion.done = true;
      completion.signal.raise();
    });
  }
  static void wait(Thread &thread, bool acquire) {
    static const std::string what = "the copy";
    auto &completion = thread.cta().state<Completion>();
    if (!completion.done) {
      thread.wait(sync, completion.signal, 0, what);
    }
    if (acquire) {
      completion.synchronization.acquire(thread.warp());
    }
  }
};

TEST(AsyncMemory, WhoeverAcquiresTheCompletionMayRead) {
  const auto report = [](bool acquire) {
    return run(64, 1024,
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   Completion::copy_to(thread, 4, Proxy::async);
                 } else if (thread.index() == 32) {
                   Completion::wait(thread, acquire);
                   EXPECT_EQ(get(thread, 4), 0x04030201U);
                 }
               })
        .report;
  };
  EXPECT_EQ(report(true), "");
  EXPECT_THAT(report(false),
              HasSubstr("read here, and 0x410 written by an asynchronous copy in cp.async at test.cuh:80"));
}

TEST(AsyncMemory, AsynchronousCopiesNeedNoFenceBeforeAsynchronousReadsButOrdinaryOnesDo) {
  const auto report = [](Proxy written, bool fence) {
    return run(64, 1024,
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   Completion::copy_to(thread, 4, written);
                 } else if (thread.index() == 32) {
                   Completion::wait(thread, true);
                   if (fence) {
                     thread.cta().shared().fence_async_proxy(thread.warp());
                   }
                   const AsyncAccess access = begin_read(thread, 4, Proxy::async);
                   thread.cta().shared().end_read(thread.warp(), access);
                 }
               })
        .report;
  };
  EXPECT_EQ(report(Proxy::async, false), "");
  EXPECT_EQ(report(Proxy::generic, true), "");
  EXPECT_THAT(report(Proxy::generic, false), HasSubstr("no fence.proxy.async since it was written"));
}

TEST(AsyncMemory, TheFenceStandsBetweenTheWriteAndTheBarrier) {
  enum class Fence { none, before_write, after_write, after_release, by_reader };
  const auto report = [](Fence fence) {
    return run(64, 1024,
               [&](Thread &thread) {
                 SharedMemory &shared = thread.cta().shared();
                 const auto place = [&](Fence here) {
                   if (fence == here) {
                     shared.fence_async_proxy(thread.warp());
                   }
                 };
                 if (thread.index() == 0) {
                   place(Fence::before_write);
                   for (u32 i = 4; i < 8; ++i) {
                     put(thread, i, i);
                   }
                   place(Fence::after_write);
                 }
                 Barrier::wait(thread);
                 if (thread.index() == 0) {
                   place(Fence::after_release);
                 }
                 if (thread.index() == 32) {
                   place(Fence::by_reader);
                   shared.end_read(thread.warp(), begin_read(thread, 4, Proxy::async));
                 }
               })
        .report;
  };
  EXPECT_EQ(report(Fence::after_write), "");
  EXPECT_EQ(report(Fence::by_reader), "");
  for (const Fence missing : {Fence::none, Fence::before_write, Fence::after_release}) {
    EXPECT_THAT(report(missing), HasSubstr("16 bytes at 0x410, of which 0x410 was written by warp 0 in st.shared"));
  }
}

TEST(AsyncMemory, WhatIsReadAsynchronouslyMayBeReadButNotWritten) {
  EXPECT_EQ(report_of([](Thread &thread) {
              thread.cta().shared().land_for(thread.warp(), begin_write(thread, 4), bytes.data());
              const AsyncAccess first = begin_read(thread, 4, Proxy::generic);
              const AsyncAccess second = begin_read(thread, 4, Proxy::generic);
              get(thread, 4);
              EXPECT_EQ(thread.cta().shared().peek(first)[15], 16);
              thread.cta().shared().end_read(thread.warp(), first);
              thread.cta().shared().end_read(thread.warp(), second);
              put(thread, 4, 1);
            }),
            "");
  const std::string report = report_of([](Thread &thread) {
    thread.cta().shared().land_for(thread.warp(), begin_write(thread, 4), bytes.data());
    const AsyncAccess first = begin_read(thread, 4, Proxy::generic);
    begin_read(thread, 4, Proxy::generic);
    thread.cta().shared().end_read(thread.warp(), first);
    put(thread, 4, 1);
  });
  EXPECT_THAT(report, HasSubstr("while an asynchronous operation of warp 0 reads it, which nobody waited for"));
  EXPECT_THAT(report, HasSubstr("in flight since wgmma.mma_async at test.cuh:90"));
}

TEST(AsyncMemory, AnAsynchronousReadCountsAsOneByTheWarpThatWaited) {
  const auto report = [](bool barrier) {
    return run(64, 1024,
               [&](Thread &thread) {
                 if (thread.index() == 0) {
                   thread.cta().shared().land_for(thread.warp(), begin_write(thread, 4), bytes.data());
                   const AsyncAccess access = begin_read(thread, 4, Proxy::generic);
                   thread.cta().shared().end_read(thread.warp(), access);
                 }
                 if (barrier) {
                   Barrier::wait(thread);
                 }
                 if (thread.index() == 32) {
                   begin_write(thread, 4);
                 }
               })
        .report;
  };
  EXPECT_THAT(report(true), HasSubstr("still being written asynchronously when CTA"));
  EXPECT_THAT(report(false), HasSubstr("Race on shared memory"));
}

} // namespace
} // namespace sale::emulator
