// SPDX-License-Identifier: Apache-2.0
// Shared memory: range, alignment, initialised.
#include "tests/emulator/machine/kernel.hpp"

#include <gmock/gmock.h>

#include <cstdint>

namespace sale::emulator {
namespace {

using testing::HasSubstr;

/// What one thread's access of shared memory reports.
std::string report_of(u32 shared_bytes, const std::function<void(Thread &, SharedMemory &)> &access) {
  return run(1, shared_bytes, [&](Thread &thread) { access(thread, thread.cta().shared()); }).report;
}

TEST(SharedMemory, HoldsWhatWasWritten) {
  EXPECT_EQ(report_of(64,
                      [](Thread &thread, SharedMemory &shared) {
                        EXPECT_EQ(shared.bytes(), 64U);
                        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(shared.base()) % 1024, 0U);
                        put(thread, 3, 42);
                        EXPECT_EQ(get(thread, 3), 42U);
                        EXPECT_EQ(shared.base()[12], 42);
                      }),
            "");
}

TEST(SharedMemory, OutOfBoundsIsReported) {
  const auto read_at = [](u32 address, u32 bytes) {
    return report_of(64, [&](Thread &thread, SharedMemory &shared) { shared.read(thread, load, address, bytes, 1); });
  };
  const u32 first = SharedMemory::first_address;
  for (const auto &[address, bytes] :
       {std::pair{first + 64, 1U}, {first + 61, 4U}, {first - 1, 2U}, {0U, 4U}, {0xfffffffcU, 8U}}) {
    EXPECT_THAT(read_at(address, bytes), HasSubstr("Shared memory out of bounds")) << address;
  }
  EXPECT_THAT(read_at(first + 64, 4), HasSubstr("4 bytes at 0x440; the CTA has [0x400, 0x440)"));
  EXPECT_THAT(read_at(first + 64, 4), HasSubstr("ld.shared at test.cuh:10"));
  EXPECT_THAT(report_of(0, [](Thread &thread, SharedMemory &) { put(thread, 0, 1); }), HasSubstr("out of bounds"));
}

TEST(SharedMemory, MisalignmentIsReported) {
  EXPECT_THAT(
      report_of(64, [](Thread &thread,
                       SharedMemory &shared) { shared.write(thread, store, SharedMemory::first_address + 8, 16, 16); }),
      HasSubstr("Shared memory misaligned: 16 bytes at 0x408 need an address that is a multiple of 16"));
}

TEST(SharedMemory, ReadsOfWhatNobodyWroteAreReported) {
  const std::string report = report_of(64, [](Thread &thread, SharedMemory &shared) {
    shared.write(thread, store, word(0), 4, 4);
    shared.write(thread, store, word(1), 2, 2);
    shared.read(thread, load, word(0), 4, 4);
    shared.read(thread, load, word(1), 2, 2);
    shared.read(thread, load, word(0), 8, 8);
  });
  EXPECT_THAT(report, HasSubstr("read before anything was written there: 8 bytes at 0x400, of which those at 0x406"));
}

TEST(SharedMemory, AtomicsOnWhatNobodyWroteAreReported) {
  EXPECT_THAT(report_of(64, [](Thread &thread, SharedMemory &shared) { shared.update(thread, atomic, word(0), 4, 4); }),
              HasSubstr("read before anything was written"));
}

TEST(SharedMemory, EveryCtaStartsUninitialised) {
  const Outcome outcome = run({.grid = {2, 1, 1}, .block = {1, 1, 1}, .shared_bytes = 4},
                              [](Thread &thread) {
                                if (thread.cta().block_index().x == 0) {
                                  put(thread, 0, 1);
                                } else {
                                  get(thread, 0);
                                }
                              },
                              {.workers = 1});
  EXPECT_THAT(outcome.report, HasSubstr("read before anything was written"));
  EXPECT_THAT(outcome.report, HasSubstr("CTA (1, 0, 0)"));
}

} // namespace
} // namespace sale::emulator
