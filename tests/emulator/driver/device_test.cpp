// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/driver/emulated.hpp"

#include <array>
#include <thread>

namespace sale {
namespace {

class EmulatedDevice : public Emulated {};

TEST_F(EmulatedDevice, IsOneOfEachArchitecture) {
  int count = 0;
  ASSERT_EQ(api.device_count(&count), cu::success);
  std::vector<std::string> names;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    std::array<char, 64> name{};
    ASSERT_EQ(api.device_name(name.data(), static_cast<int>(name.size()), ordinal), cu::success);
    names.emplace_back(name.data());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"Emulated sm_90", "Emulated sm_80", "Emulated sm_86", "Emulated sm_89",
                                             "Emulated sm_100", "Emulated sm_120"}));
  cu::Device none = 0;
  EXPECT_NE(api.device_get(&none, count), cu::success);
}

TEST_F(EmulatedDevice, CutsItsNameToTheBuffer) {
  std::array<char, 9> name{};
  ASSERT_EQ(api.device_name(name.data(), static_cast<int>(name.size()), 0), cu::success);
  EXPECT_STREQ(name.data(), "Emulated");
}

TEST_F(EmulatedDevice, TellsTheRuntimeThatItIsEmulated) {
  EXPECT_TRUE(driver->emulated());
  EXPECT_EQ(device.major(), 9);
  EXPECT_EQ(Device(driver, 0).name(), "Emulated sm_90");
}

TEST_F(EmulatedDevice, KeepsAStackOfContextsPerThread) {
  cu::Context other = nullptr;
  ASSERT_EQ(api.primary_retain(&other, 2), cu::success);
  ASSERT_EQ(api.context_push(other), cu::success);
  cu::Device now = 0;
  EXPECT_EQ(api.context_device(&now), cu::success);
  EXPECT_EQ(now, 2);
  cu::Context of_thread = other;
  std::thread([&] { api.context_current(&of_thread); }).join();
  EXPECT_EQ(of_thread, nullptr);
  cu::Context popped = nullptr;
  EXPECT_EQ(api.context_pop(&popped), cu::success);
  EXPECT_EQ(popped, other);
  EXPECT_EQ(api.primary_release(2), cu::success);
  EXPECT_EQ(api.context_push(other), invalid_context) << "nobody holds it any more";
  EXPECT_EQ(api.primary_release(2), invalid_context);
}

TEST_F(EmulatedDevice, RefusesWorkWithoutAContext) {
  std::thread([&] {
    cu::Address address = 0;
    EXPECT_EQ(api.memory_allocate(&address, 64), invalid_context);
    EXPECT_EQ(api.stream_synchronize(nullptr), invalid_context);
    cu::Context popped = nullptr;
    EXPECT_EQ(api.context_pop(&popped), invalid_context);
    EXPECT_TRUE(has(text_of(invalid_context), "no context is current"));
  }).join();
}

TEST_F(EmulatedDevice, MeasuresTimeBetweenEvents) {
  cu::Event begin = nullptr;
  cu::Event end = nullptr;
  ASSERT_EQ(api.event_create(&begin, cu::event_default), cu::success);
  ASSERT_EQ(api.event_create(&end, cu::event_default), cu::success);
  float milliseconds = -1;
  EXPECT_NE(api.event_elapsed(&milliseconds, begin, end), cu::success) << "neither is recorded";
  EXPECT_EQ(api.event_record(begin, nullptr), cu::success);
  EXPECT_EQ(api.event_record(end, nullptr), cu::success);
  EXPECT_EQ(api.event_elapsed(&milliseconds, begin, end), cu::success);
  EXPECT_GE(milliseconds, 0.0F);
  EXPECT_EQ(api.event_destroy(begin), cu::success);
  EXPECT_EQ(api.event_destroy(end), cu::success);
}

} // namespace
} // namespace sale
