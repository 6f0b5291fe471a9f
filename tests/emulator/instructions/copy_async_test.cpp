// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/instructions/harness.hpp"

#include <gtest/gtest.h>

namespace sale::emulator::test {
namespace {

const Instruction &copy16() {
  static const Instruction instruction =
      make("cp.async.cg.shared.global.L2::128B", {address(), address(), value(), value()});
  return instruction;
}
const Instruction &copy() {
  static const Instruction instruction = make("cp.async.ca.shared.global", {address(), address(), value()});
  return instruction;
}
const Instruction &commit() {
  static const Instruction instruction = make("cp.async.commit_group", {});
  return instruction;
}
const Instruction &wait_group() {
  static const Instruction instruction = make("cp.async.wait_group", {value()});
  return instruction;
}
const Instruction &wait_all() {
  static const Instruction instruction = make("cp.async.wait_all", {});
  return instruction;
}
const Instruction &sync() {
  static const Instruction instruction = make("bar.sync", {value()});
  return instruction;
}

u64 load(u32 address_) {
  static const Instruction instruction = make("ld.shared.b32", {value(), address()});
  return execute(instruction, {0, address_})[0];
}

TEST(CopyAsync, CopiesLandAtTheWaitThatCoversThem) {
  Words in(1024);
  in.fill_counting(1);
  expect_run(
      [&](Thread &thread) {
        const u32 mine = thread.index();
        for (u32 group = 0; group < 4; ++group) {
          execute(copy16(), {shared + 1024 * group + 16 * mine, in.at(256 * group + 4 * mine), 16, 16});
          execute(commit());
        }
        for (u32 group = 0; group < 4; ++group) {
          execute(wait_group(), {3 - group});
          execute(sync());
          const u32 word = 256 * group + (4 * mine + 129) % 256; // another warp's
          EXPECT_EQ(load(shared + 4 * word), 1 + word);
        }
      },
      {.threads = 64});
}

TEST(CopyAsync, TheSourceIsReadAtTheLatestMoment) {
  Words in(4);
  in.fill_counting(1);
  expect_run(
      [&](Thread &) {
        execute(copy(), {shared, in.at(0), 4});
        in[0] = 77;
        execute(wait_all());
        EXPECT_EQ(load(shared), 77U);
      },
      {.threads = 1});
}

TEST(CopyAsync, MissingSourceBytesAreZero) {
  const Instruction unless = make("cp.async.ca.shared.global", {address(), address(), value(), predicate()});
  Words in(4);
  in.fill_counting(1);
  expect_run(
      [&](Thread &) {
        execute(copy16(), {shared, in.at(0), 16, 8});
        execute(copy16(), {shared + 16, 0, 16, 0}); // the address is not looked at
        execute(unless, {shared + 32, in.at(0), 4, 1});
        execute(unless, {shared + 36, in.at(1), 4, 0});
        execute(wait_all());
        for (u32 word = 0; word < 10; ++word) {
          EXPECT_EQ(load(shared + 4 * word), word < 2 ? 1 + word : word == 9 ? 2 : 0U) << word;
        }
      },
      {.threads = 1});
}

TEST(CopyAsync, AnInFlightDestinationMustNotBeTouched) {
  Words in(4);
  in.fill_counting();
  expect_fault("in flight", [&](Thread &) {
    execute(copy(), {shared, in.at(0), 4});
    execute(commit());
    execute(copy(), {shared + 4, in.at(1), 4});
    execute(commit());
    execute(wait_group(), {1});
    load(shared);
    load(shared + 4);
  });
  expect_fault("in flight",
               [&](Thread &) { // wait_group does not cover what was not committed
                 execute(copy(), {shared, in.at(0), 4});
                 execute(wait_group(), {0});
                 load(shared);
               },
               {.threads = 1});
}

TEST(CopyAsync, OtherWarpsNeedABarrierToo) {
  Words in(32);
  in.fill_counting();
  expect_fault("Race",
               [&](Thread &thread) {
                 if (thread.index() < 32) {
                   execute(copy(), {shared + 4 * thread.lane(), in.at(thread.lane()), 4});
                   execute(wait_all());
                 } else {
                   thread.yield();
                   thread.yield();
                   load(shared + 4 * thread.lane());
                 }
               },
               {.threads = 64});
}

TEST(CopyAsync, ACopyNeverWaitedForFaults) {
  Words in(8);
  in.fill_counting();
  expect_fault("returns with 2 cp.async copies that it never waited for",
               [&](Thread &) {
                 execute(copy(), {shared, in.at(0), 4});
                 execute(commit());
                 execute(copy(), {shared + 4, in.at(1), 4});
               },
               {.threads = 1});
}

TEST(CopyAsync, WrongSizesAndAddressesFault) {
  Words in(8);
  in.fill_counting();
  expect_fault("copies 4, 8 or 16 bytes here, not 2", [&](Thread &) { execute(copy(), {shared, in.at(0), 2}); });
  expect_fault("copies 16 bytes here, not 8", [&](Thread &) { execute(copy16(), {shared, in.at(0), 8, 8}); });
  expect_fault("more than the 16 to copy", [&](Thread &) { execute(copy16(), {shared, in.at(0), 16, 17}); });
  expect_fault("is not a multiple of the 16 bytes copied",
               [&](Thread &) { execute(copy16(), {shared, in.at(1), 16, 16}); });
  expect_fault("multiple of 8", [&](Thread &) { execute(copy(), {shared + 4, in.at(0), 8}); });
  expect_fault("cp.async.ca", [&](Thread &) { execute(copy(), {shared, in.at(8), 8}); });
  expect_fault("cp.async.ca", [&](Thread &) { execute(copy(), {shared + 4096, in.at(0), 8}); });
}

TEST(CopyAsync, ABarrierInMemoryCompletesWhenTheCopiesHaveLanded) {
  const Instruction init = make("mbarrier.init.shared::cta.b64", {address(), value()});
  const Instruction wait = make("mbarrier.try_wait.parity.shared::cta.b64", {predicate(), address(), value()});
  const Instruction arrive = make("mbarrier.arrive.shared::cta.b64", {sink(), address()});
  for (const bool noinc : {true, false}) {
    const Instruction arrive_after =
        make(noinc ? "cp.async.mbarrier.arrive.noinc.shared::cta.b64" : "cp.async.mbarrier.arrive.shared::cta.b64",
             {address()});
    Words in(32);
    in.fill_counting(5);
    expect_run(
        [&](Thread &thread) {
          if (thread.index() == 0) {
            execute(init, {shared + 2048, 32});
          }
          execute(sync());
          const u32 lane = thread.lane();
          if (thread.index() < 32) {
            execute(copy(), {shared + 4 * lane, in.at(lane), 4});
            execute(arrive_after, {shared + 2048});
            if (!noinc) {
              execute(arrive, {0, shared + 2048});
            }
          } else {
            while (execute(wait, {0, shared + 2048, 0})[0] == 0) {
            }
            EXPECT_EQ(load(shared + 4 * lane), 5 + lane);
          }
        },
        {.threads = 64});
  }
}

} // namespace
} // namespace sale::emulator::test
