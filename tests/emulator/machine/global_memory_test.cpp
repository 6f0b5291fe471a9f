// SPDX-License-Identifier: Apache-2.0
// Global memory: bounds and alignment.
#include "emulator/machine/global_memory.hpp"
#include "tests/emulator/machine/kernel.hpp"

#include <gmock/gmock.h>

#include <cstdint>
#include <memory>

namespace sale::emulator {
namespace {

using testing::HasSubstr;

class Memory {
public:
  explicit Memory(std::size_t bytes) : first_(static_cast<u8 *>(allocate_global(bytes)), &free_global) {}
  u8 *at(std::ptrdiff_t offset) const { return first_.get() + offset; }

private:
  std::unique_ptr<u8, bool (*)(void *)> first_;
};

std::string report_of(const u8 *address, std::size_t bytes, std::size_t alignment, bool write = false) {
  return run(1, 0, [&](Thread &thread) { check_global(thread, load, address, bytes, alignment, write); }).report;
}

TEST(GlobalMemory, IsAlignedAndPoisoned) {
  const Memory memory(1000);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.at(0)) % 512, 0U);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(*memory.at(i), 0xff);
  }
}

TEST(GlobalMemory, KnowsItsBounds) {
  const Memory memory(1000);
  const Memory other(64);
  EXPECT_TRUE(is_global(memory.at(0), 1000));
  EXPECT_TRUE(is_global(memory.at(999), 1));
  EXPECT_FALSE(is_global(memory.at(999), 2));
  EXPECT_FALSE(is_global(memory.at(-1), 1));
  EXPECT_FALSE(is_global(memory.at(0), SIZE_MAX));
  EXPECT_FALSE(is_global(nullptr, 1));
  EXPECT_TRUE(is_global(other.at(0), 64));
}

TEST(GlobalMemory, FreedMemoryIsNotGlobal) {
  auto *memory = static_cast<u8 *>(allocate_global(64));
  EXPECT_TRUE(is_global(memory, 64));
  EXPECT_FALSE(free_global(memory + 1));
  EXPECT_TRUE(free_global(memory));
  EXPECT_FALSE(is_global(memory, 64));
  EXPECT_FALSE(free_global(memory));
}

TEST(GlobalMemory, WhatTheHostDoesNotHaveIsNull) {
  EXPECT_EQ(allocate_global(SIZE_MAX), nullptr);
  EXPECT_EQ(allocate_global(SIZE_MAX / 4), nullptr);
}

TEST(GlobalMemory, AccessesOutOfBoundsAreReportedWithWhatIsNear) {
  const Memory memory(1000);
  EXPECT_EQ(report_of(memory.at(0), 16, 16), "");
  EXPECT_THAT(report_of(memory.at(992), 16, 16), HasSubstr("992 bytes into the allocation"));
  EXPECT_THAT(report_of(memory.at(1004), 4, 4, true), HasSubstr("Global memory written out of bounds: 4 bytes at "));
  EXPECT_THAT(report_of(memory.at(1004), 4, 4), HasSubstr("4 bytes past the end of the allocation ["));
  EXPECT_THAT(report_of(memory.at(-8), 8, 8), HasSubstr("8 bytes before the allocation ["));
  EXPECT_THAT(report_of(memory.at(-8), 8, 8), HasSubstr("of 1000 bytes"));
}

TEST(GlobalMemory, MisalignedAccessesAreReported) {
  const Memory memory(1000);
  EXPECT_THAT(report_of(memory.at(8), 16, 16), HasSubstr("16 bytes need an address that is a multiple of 16"));
}

} // namespace
} // namespace sale::emulator
