// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/registry.hpp"
#include "tests/emulator/instructions/harness.hpp"

#include <gtest/gtest.h>

namespace sale::emulator::test {
namespace {

TEST(Memory, VectorsGoThroughSharedMemoryAndBack) {
  const Instruction load = make("ld.global.v4.b32", {value(4), address()});
  const Instruction put = make("st.shared.v4.b32", {address(), value(4)});
  const Instruction get = make("ld.shared.v2.f32", {value(2), address()});
  const Instruction store = make("st.global.v2.b32", {address(), value(2)});
  Words in(128);
  Words out(64);
  in.fill_counting(0x80000000U);
  expect_run([&](Thread &thread) {
    const u32 lane = thread.lane();
    const Slots v = execute(load, {0, 0, 0, 0, in.at(4 * lane)});
    execute(put, {shared + 16 * lane, v[0], v[1], v[2], v[3]});
    const Slots w = execute(get, {0, 0, shared + 16 * lane + 8});
    execute(store, {out.at(2 * lane), w[0], w[1]});
  });
  for (u32 i = 0; i < 64; ++i) {
    EXPECT_EQ(out[i], 0x80000000U + 4 * (i / 2) + 2 + i % 2);
  }
}

TEST(Memory, NarrowLoadsExtendTheSignOnlyOfSignedTypes) {
  Words in(1);
  in[0] = 0x0080ff80U;
  expect_run(
      [&](Thread &) {
        EXPECT_EQ(execute(make("ld.global.u8", {value(), address()}), {0, in.at(0)})[0], 0x80U);
        EXPECT_EQ(execute(make("ld.global.s8", {value(), address()}), {0, in.at(0)})[0], ~u64{0x7f});
        EXPECT_EQ(execute(make("ld.global.s16", {value(), address()}), {0, in.at(0)})[0], ~u64{0x7f});
        EXPECT_EQ(execute(make("ld.global.b16", {value(), address()}), {0, in.at(0)})[0], 0xff80U);
      },
      {.threads = 1});
}

TEST(Memory, CacheHintsAndOrdersAreAccepted) {
  Words in(2);
  in.fill_counting(7);
  expect_run(
      [&](Thread &) {
        for (const char *opcode :
             {"ld.global.nc.L1::no_allocate.L2::128B.b64", "ld.volatile.global.b64", "ld.relaxed.gpu.global.u64",
              "ld.acquire.sys.global.b64", "ld.weak.global.cg.b64", "ld.b64"}) {
          EXPECT_EQ(execute(make(opcode, {value(), address()}), {0, in.at(0)})[0], 0x800000007U) << opcode;
        }
        for (const char *opcode : {"st.release.gpu.global.b32", "st.volatile.global.b32", "st.global.cs.b32"}) {
          execute(make(opcode, {address(), value()}), {in.at(1), 9});
          EXPECT_EQ(in[1], 9U);
          in[1] = 8;
        }
        execute(make("prefetch.global.L2", {address()}), {in.at(0)});
      },
      {.threads = 1});
}

TEST(Memory, GenericAddressesReachSharedMemory) {
  expect_run([&](Thread &thread) {
    const u64 pointer = reinterpret_cast<u64>(thread.cta().shared().base()) + 4 * thread.lane();
    execute(make("st.b32", {address(), value()}), {pointer, 100 + thread.lane()});
    const Slots got = execute(make("ld.shared.b32", {value(), address()}), {0, shared + 4 * thread.lane()});
    EXPECT_EQ(got[0], 100 + thread.lane());
  });
}

TEST(Memory, AThreadMaySpinOnAnother) {
  const Instruction load = make("ld.acquire.gpu.global.b32", {value(), address()});
  const Instruction store = make("st.release.gpu.global.b32", {address(), value()});
  Words flag(1);
  flag[0] = 0;
  expect_run(
      [&](Thread &thread) {
        if (thread.index() == 63) {
          execute(store, {flag.at(0), 1});
        }
        while (execute(load, {0, flag.at(0)})[0] == 0) {
        }
      },
      {.threads = 64});
}

TEST(Memory, MisalignedAccessesFault) {
  Words in(16);
  in.fill_counting();
  expect_fault("multiple of 16",
               [&](Thread &) { execute(make("ld.global.v4.b32", {value(4), address()}), {0, 0, 0, 0, in.at(2)}); });
  expect_fault("multiple of 4",
               [&](Thread &) { execute(make("st.shared.b32", {address(), value()}), {shared + 2, 1}); });
}

TEST(Memory, AccessesOutOfRangeFault) {
  Words in(16);
  in.fill_counting();
  expect_fault("ld.global.b32",
               [&](Thread &) { execute(make("ld.global.b32", {value(), address()}), {0, in.at(16)}); });
  expect_fault("st.shared.b32",
               [&](Thread &) { execute(make("st.shared.b32", {address(), value()}), {shared + 4096, 1}); });
  expect_fault("ld.shared.b32", [&](Thread &) { execute(make("ld.shared.b32", {value(), address()}), {0, 0}); });
  expect_fault("ld.shared.b32", [&](Thread &) { execute(make("ld.shared.b32", {value(), address()}), {0, in.at(0)}); });
}

TEST(Memory, UninitialisedSharedMemoryFaults) {
  expect_fault("initialised", [&](Thread &) { execute(make("ld.shared.b32", {value(), address()}), {0, shared}); });
}

TEST(Memory, BankConflictsAreCountedPerWarpAccess) {
  for (const u32 stride : {4U, 8U, 128U}) {
    const Instruction store = make("st.shared.b32", {address(), value()});
    Statistics statistics;
    expect_run([&](Thread &thread) { execute(store, {shared + stride * thread.lane(), 0}); }, {.shared_bytes = 4096},
               &statistics);
    ASSERT_EQ(statistics.bank_accesses.size(), 1U);
    const auto [accesses, conflicts] = statistics.bank_accesses.begin()->second;
    EXPECT_EQ(accesses, 1U);
    EXPECT_EQ(conflicts, stride / 4 - 1);
  }
}

TEST(Memory, OtherStateSpacesAreUnknown) {
  for (const char *space : {"local", "param", "const"}) {
    Instruction load;
    load.parts = {"ld", space, "b32"};
    EXPECT_EQ(find_handler(load), nullptr) << space;
  }
}

} // namespace
} // namespace sale::emulator::test
