// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/instructions/harness.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <set>

namespace sale::emulator::test {
namespace {

/// One atom with operands b and c on a word that holds `old`; the word after.
u64 after(const std::string &opcode, u64 old, u64 b, u64 c = 0) {
  Words word(2);
  word[0] = static_cast<u32>(old);
  word[1] = static_cast<u32>(old >> 32U);
  std::vector<Operand> operands = {value(), address(), value()};
  if (opcode.find("cas") != std::string::npos) {
    operands.push_back(value());
  }
  const Instruction atom = make(opcode, operands);
  const bool wide = opcode.substr(opcode.size() - 2) == "64";
  expect_run([&](Thread &) { EXPECT_EQ(execute(atom, {0, word.at(0), b, c})[0], old) << opcode; }, {.threads = 1});
  return wide ? word[0] | u64{word[1]} << 32U : word[0];
}

u64 bits(float value) { return std::bit_cast<u32>(value); }

TEST(Atomics, EveryOperationGivesTheOldValueAndStoresTheNew) {
  EXPECT_EQ(after("atom.global.add.u32", 0xffffffffU, 2), 1U);
  EXPECT_EQ(after("atom.acq_rel.gpu.global.add.u64", 0xffffffffU, 2), 0x100000001U);
  EXPECT_EQ(after("atom.global.add.s32", 5, 0xffffffffU), 4U);
  EXPECT_EQ(after("atom.global.add.f32", bits(1.5F), bits(2.25F)), bits(3.75F));
  EXPECT_EQ(after("atom.global.add.noftz.f16x2", 0x3c00'4000U, 0x4000'3c00U), 0x4200'4200U);
  EXPECT_EQ(after("atom.global.add.noftz.bf16x2", 0x3f80'4000U, 0x4000'3f80U), 0x4040'4040U);
  EXPECT_EQ(after("atom.global.and.b32", 0xf0f0U, 0xff00U), 0xf000U);
  EXPECT_EQ(after("atom.global.or.b32", 0xf0f0U, 0xff00U), 0xfff0U);
  EXPECT_EQ(after("atom.global.xor.b64", 0xf0f0U, u64{1} << 63U), 0xf0f0U | u64{1} << 63U);
  EXPECT_EQ(after("atom.global.min.s32", 5, 0xffffffffU), 0xffffffffU);
  EXPECT_EQ(after("atom.global.min.u32", 5, 0xffffffffU), 5U);
  EXPECT_EQ(after("atom.global.max.s32", 5, 0xffffffffU), 5U);
  EXPECT_EQ(after("atom.global.max.u32", 5, 0xffffffffU), 0xffffffffU);
  EXPECT_EQ(after("atom.global.exch.b32", 5, 6), 6U);
  EXPECT_EQ(after("atom.global.cas.b32", 5, 5, 7), 7U);
  EXPECT_EQ(after("atom.global.cas.b32", 5, 6, 7), 5U);
  EXPECT_EQ(after("atom.global.inc.u32", 5, 5), 0U);
  EXPECT_EQ(after("atom.global.inc.u32", 4, 5), 5U);
  EXPECT_EQ(after("atom.global.dec.u32", 0, 5), 5U);
  EXPECT_EQ(after("atom.global.dec.u32", 9, 5), 5U);
  EXPECT_EQ(after("atom.global.dec.u32", 3, 5), 2U);
}

TEST(Atomics, AllCtasAddToOneCounterAndEachSeesAnotherValue) {
  const Instruction atom = make("atom.relaxed.gpu.global.add.u32", {value(), address(), value()});
  const Instruction red = make("red.relaxed.gpu.global.or.b32", {address(), value()});
  Words counter(2);
  counter[0] = counter[1] = 0;
  Words seen(64 * 64);
  expect_run(
      [&](Thread &thread) {
        const u64 old = execute(atom, {0, counter.at(0), 1})[0];
        seen[old] = thread.index();
        execute(red, {counter.at(1), 1U << thread.lane()});
      },
      {.threads = 64, .grid = 64});
  EXPECT_EQ(counter[0], 64U * 64);
  EXPECT_EQ(counter[1], 0xffffffffU);
  std::multiset<u32> threads;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    threads.insert(seen[i]);
  }
  EXPECT_EQ(threads.count(63), 64U);
}

TEST(Atomics, WarpsMayAddToSharedMemoryWithoutABarrierBetweenThem) {
  const Instruction store = make("st.shared.b32", {address(), value()});
  const Instruction sync = make("bar.sync", {value()});
  const Instruction red = make("red.shared.add.u32", {address(), value()});
  const Instruction load = make("ld.shared.b32", {value(), address()});
  expect_run(
      [&](Thread &thread) {
        if (thread.index() == 0) {
          execute(store, {shared, 0});
        }
        execute(sync);
        execute(red, {shared, 2});
        execute(sync);
        EXPECT_EQ(execute(load, {0, shared})[0], 256U);
      },
      {.threads = 128});
}

TEST(Atomics, VectorsAddElementByElement) {
  const Instruction red = make("red.global.add.v2.f32", {address(), value(2)});
  Words pair(2);
  pair[0] = pair[1] = 0;
  expect_run([&](Thread &) { execute(red, {pair.at(0), bits(1), bits(0.5F)}); });
  EXPECT_EQ(pair[0], bits(32));
  EXPECT_EQ(pair[1], bits(16));
  expect_fault("multiple of 8", [&](Thread &) { execute(red, {pair.at(1), 0, 0}); });
}

} // namespace
} // namespace sale::emulator::test
