// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/driver/emulated.hpp"

#include <array>

namespace sale {
namespace {

class EmulatedMemory : public Emulated {
protected:
  void SetUp() override { ASSERT_EQ(api.memory_allocate(&memory, 64), cu::success); }
  void TearDown() override { api.memory_free(memory); }
  cu::Address memory = 0;
  std::array<unsigned char, 128> host{};
};

TEST_F(EmulatedMemory, IsPoisonedAtFirst) {
  ASSERT_EQ(api.copy_to_host(host.data(), memory, 64), cu::success);
  EXPECT_EQ(host[0], 0xff);
  EXPECT_EQ(host[63], 0xff);
}

TEST_F(EmulatedMemory, KeepsWhatIsCopiedIn) {
  host[5] = 42;
  ASSERT_EQ(api.copy_to_device(memory + 16, host.data(), 48), cu::success);
  host[5] = 0;
  ASSERT_EQ(api.copy_to_host(host.data(), memory + 16, 48), cu::success);
  EXPECT_EQ(host[5], 42);
}

TEST_F(EmulatedMemory, FillsWords) {
  ASSERT_EQ(api.fill_words(memory, 0x01020304U, 16, nullptr), cu::success);
  ASSERT_EQ(api.copy_to_host(host.data(), memory, 64), cu::success);
  EXPECT_EQ(host[60], 4);
  EXPECT_EQ(host[63], 1);
}

TEST_F(EmulatedMemory, RefusesRangesBeyondAnAllocation) {
  EXPECT_EQ(api.copy_to_device(memory, host.data(), 65), invalid_value);
  EXPECT_TRUE(has(text_of(invalid_value), "65 bytes"));
  EXPECT_EQ(api.copy_to_device(memory + 60, host.data(), 8), invalid_value);
  EXPECT_EQ(api.copy_to_host(host.data(), memory - 1, 4), invalid_value);
  EXPECT_EQ(api.fill_words(memory, 0, 17, nullptr), invalid_value);
  EXPECT_EQ(api.copy_to_device(reinterpret_cast<cu::Address>(host.data()), host.data(), 8), invalid_value);
}

TEST_F(EmulatedMemory, RefusesToFillBetweenWords) {
  EXPECT_EQ(api.fill_words(memory + 2, 0, 1, nullptr), invalid_value);
}

TEST_F(EmulatedMemory, RefusesToFreeWhatIsNoAllocation) {
  EXPECT_EQ(api.memory_free(memory + 8), invalid_value);
  cu::Address other = 0;
  ASSERT_EQ(api.memory_allocate(&other, 64), cu::success);
  EXPECT_EQ(api.memory_free(other), cu::success);
  EXPECT_EQ(api.memory_free(other), invalid_value);
  EXPECT_EQ(api.memory_free(0), cu::success);
  EXPECT_EQ(api.memory_allocate(&other, 0), invalid_value);
}

} // namespace
} // namespace sale
