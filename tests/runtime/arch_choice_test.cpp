// SPDX-License-Identifier: Apache-2.0
#include "runtime/arch_choice.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

TEST(ArchChoice, TakesTheDevicesOwnByDefault) {
  EXPECT_EQ(choose_target("", 9, 0).arch.name(), "sm_90a");
  EXPECT_EQ(choose_target("", 9, 0).kind, BinaryKind::cubin);
}

TEST(ArchChoice, RunsMachineCodeOfAnOlderMinorVersion) {
  EXPECT_EQ(choose_target("sm_80", 8, 9).kind, BinaryKind::cubin);
  EXPECT_EQ(choose_target("sm_89", 8, 9).kind, BinaryKind::cubin);
}

TEST(ArchChoice, UsesPtxAcrossMajorVersions) {
  EXPECT_EQ(choose_target("sm_80", 9, 0).kind, BinaryKind::ptx);
  EXPECT_EQ(choose_target("sm_89", 12, 0).kind, BinaryKind::ptx);
}

TEST(ArchChoice, RefusesWhatIsNewerThanTheDevice) {
  for (const char *name : {"sm_100", "sm_90"}) {
    const Error error = error_of([&] { choose_target(name, 8, 9); });
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("which is sm_89"), std::string::npos);
  }
  EXPECT_THROW(choose_target("sm_89", 8, 6), Error);
}

TEST(ArchChoice, RefusesAnArchitectureSpecificOneElsewhere) {
  const Error error = error_of([&] { choose_target("sm_90a", 10, 0); });
  EXPECT_NE(std::string(error.what()).find("run on sm_90 only"), std::string::npos) << error.what();
  EXPECT_EQ(choose_target("sm_90a", 9, 0).kind, BinaryKind::cubin);
}

TEST(ArchChoice, GivesAnEmulatedDeviceTheSourceOfAnyArchitecture) {
  for (const char *name : {"sm_80", "sm_90", "sm_120"}) {
    const KernelTarget target = choose_target(name, 9, 0, true);
    EXPECT_EQ(target.arch.name(), name);
    EXPECT_EQ(target.kind, BinaryKind::source);
  }
  EXPECT_EQ(choose_target("", 8, 6, true).arch.name(), "sm_86");
}

TEST(ArchChoice, RefusesNamesItDoesNotKnow) { EXPECT_THROW(choose_target("sm_90x", 9, 0), Error); }

} // namespace
} // namespace sale
