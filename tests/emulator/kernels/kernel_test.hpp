// SPDX-License-Identifier: Apache-2.0
// Needs the device that runs the test kernels; skips where there is none, which with the emulator never happens.
#pragma once

#include "tests/emulator/kernels/device.hpp"

#include <gtest/gtest.h>

namespace sale::test {

class KernelTest : public ::testing::Test {
protected:
  void SetUp() override {
    try {
      Device::get();
    } catch (const Error &error) {
      GTEST_SKIP() << error.what();
    }
  }
  void TearDown() override {
    if (!IsSkipped()) {
      Device::get().set_schedule(0);
    }
  }
};

/// Of the emulator's threads: a fixed order and two random ones.
constexpr unsigned long long schedules[] = {0, 1, 2};

/// Compiles for Hopper where this machine has NVRTC; ptxas must neither make wgmma synchronous nor
/// spill.
inline void expect_good_hopper_code(const std::string &source) {
  std::string log;
  try {
    log = compile_for_hopper(source).log;
  } catch (const Error &error) {
    if (error.kind() == ErrorKind::not_found) {
      GTEST_SKIP() << error.what();
    }
    throw;
  }
  EXPECT_EQ(log.find("serialized"), std::string::npos) << log;
  EXPECT_NE(log.find("0 bytes spill stores, 0 bytes spill loads"), std::string::npos) << log;
}

} // namespace sale::test
