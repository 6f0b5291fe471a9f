// SPDX-License-Identifier: Apache-2.0
#include "generator/arch.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

std::string refusal(const char *name) {
  try {
    parse_arch(name);
  } catch (const Error &error) {
    return error.what();
  }
  return "accepted";
}

TEST(ArchTest, EverySupportedNameParsesToItself) {
  for (const Arch &arch : supported_archs()) {
    EXPECT_EQ(parse_arch(arch.name()), arch);
  }
}

TEST(ArchTest, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  for (const char *name : {"", "sm_75", "90", "sm_90 ", "sm_999", "compute_90"}) {
    EXPECT_NE(refusal(name).find("sm_80, sm_86"), std::string::npos) << name << ": " << refusal(name);
  }
}

TEST(ArchTest, AnArchitectureSpecificSuffixIsExplained) {
  for (const char *name : {"sm_100a", "sm_120f", "sm_89a"}) {
    EXPECT_NE(refusal(name).find("only sm_90a has kernels"), std::string::npos) << refusal(name);
  }
}

TEST(ArchTest, ADeviceRunsTheNewestBinaryOfItsMajorVersion) {
  EXPECT_EQ(arch_for_device(9, 0).arch.name(), "sm_90a");
  EXPECT_EQ(arch_for_device(8, 9).arch.name(), "sm_89");
  EXPECT_EQ(arch_for_device(12, 1).arch.name(), "sm_121");
  EXPECT_EQ(arch_for_device(12, 7).arch.name(), "sm_121");
  EXPECT_FALSE(arch_for_device(12, 7).as_ptx);
}

TEST(ArchTest, AnUnknownNewerDeviceGetsPtxOfAnOlderArchitecture) {
  const DeviceArch device = arch_for_device(15, 0);
  EXPECT_EQ(device.arch.name(), "sm_121");
  EXPECT_TRUE(device.as_ptx);
}

TEST(ArchTest, AnOlderDeviceIsRefused) { EXPECT_THROW(arch_for_device(7, 5), Error); }

} // namespace
} // namespace sale
