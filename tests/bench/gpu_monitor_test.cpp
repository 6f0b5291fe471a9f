// SPDX-License-Identifier: Apache-2.0
#include "bench/gpu_monitor.hpp"

#include <gtest/gtest.h>

namespace sale::bench {
namespace {

TEST(ParseReading, reads_what_nvidia_smi_prints) {
  std::string driver;
  const auto reading = parse_reading("580.159.04, 1980, 2619, 690.21, 61", driver);
  ASSERT_TRUE(reading);
  EXPECT_EQ(driver, "580.159.04");
  EXPECT_EQ(reading->sm_mhz, 1980);
  EXPECT_EQ(reading->memory_mhz, 2619);
  EXPECT_EQ(reading->watts, 690.21);
  EXPECT_EQ(reading->celsius, 61);
}

TEST(ParseReading, takes_nothing_else) {
  std::string driver;
  for (const char *line : {"", "No devices were found", "580.1, [N/A], 2619, 690.21, 61", "580.1, 1980"}) {
    EXPECT_FALSE(parse_reading(line, driver)) << line;
  }
  EXPECT_EQ(driver, "");
}

} // namespace
} // namespace sale::bench
