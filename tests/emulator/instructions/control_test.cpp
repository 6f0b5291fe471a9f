// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/instructions/harness.hpp"

#include <gtest/gtest.h>

namespace sale::emulator::test {
namespace {

TEST(Control, RegistersMoveBetweenWarpgroups) {
  const Instruction inc = make("setmaxnreg.inc.sync.aligned.u32", {value()});
  const Instruction dec = make("setmaxnreg.dec.sync.aligned.u32", {value()});
  expect_run([&](Thread &thread) { thread.index() < 128 ? execute(dec, {24}) : execute(inc, {240}); },
             {.threads = 384});
}

TEST(Control, RegistersThatCannotBeFault) {
  const Instruction inc = make("setmaxnreg.inc.sync.aligned.u32", {value()});
  const Instruction dec = make("setmaxnreg.dec.sync.aligned.u32", {value()});
  const Shape shape{.threads = 384};
  expect_fault("multiple of 8 from 24 to 256", [&](Thread &) { execute(inc, {100}); }, shape);
  expect_fault("multiple of 8 from 24 to 256", [&](Thread &) { execute(inc, {16}); }, shape);
  expect_fault("a CTA of 384 threads has at most 64512", [&](Thread &) { execute(inc, {240}); }, shape);
  expect_fault( // 24 + 240 + 248: the multiprocessor's 65536, but 168 per thread is all that 384 threads can begin with
      "the warpgroups have 65536 registers together",
      [&](Thread &thread) {
        thread.index() < 128 ? execute(dec, {24}) : execute(inc, {thread.index() < 256 ? 240U : 248U});
      },
      shape);
  expect_fault(
      "gave 2 warpgroups 480 registers per thread together",
      [&](Thread &thread) {
        if (thread.index() >= 128) { // the first warpgroup keeps what it has
          execute(inc, {240});
        }
      },
      shape);
  expect_fault(
      "where another warp of its warpgroup set",
      [&](Thread &thread) { execute(dec, {thread.index() < 32 ? 40U : 24U}); }, shape);
  expect_fault(
      "did not execute every setmaxnreg of its warpgroup",
      [&](Thread &thread) {
        if (thread.index() >= 32) {
          execute(dec, {24});
        }
      },
      shape);
  expect_fault(
      "setmaxnreg.inc to 40 registers from 80",
      [&](Thread &) {
        execute(inc, {80});
        execute(inc, {40});
      },
      shape);
  expect_fault("lanes 0 and 7 give", [&](Thread &thread) { execute(dec, {thread.lane() == 7 ? 32U : 24U}); }, shape);
}

TEST(Control, FencesAndHintsDoNothing) {
  expect_run([](Thread &) {
    for (const char *opcode : {"fence.acq_rel.gpu", "fence.sc.sys", "membar.gl", "griddepcontrol.wait",
                               "griddepcontrol.launch_dependents"}) {
      execute(make(opcode, {}));
    }
    execute(make("nanosleep.u32", {value()}), {100});
  });
}

TEST(Control, ATrapFaults) {
  expect_fault("the kernel trapped", [](Thread &) { execute(make("trap", {})); });
}

} // namespace
} // namespace sale::emulator::test
