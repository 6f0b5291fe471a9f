// SPDX-License-Identifier: Apache-2.0
#include "runtime/arch_choice.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

TEST(ArchChoice, TakesTheDevicesOwnByDefault) {
  EXPECT_EQ(choose_arch("", 9, 0).arch.name(), "sm_90");
  EXPECT_FALSE(choose_arch("", 9, 0).as_ptx);
}

TEST(ArchChoice, RunsMachineCodeOfAnOlderMinorVersion) {
  EXPECT_FALSE(choose_arch("sm_80", 8, 9).as_ptx);
  EXPECT_FALSE(choose_arch("sm_89", 8, 9).as_ptx);
}

TEST(ArchChoice, UsesPtxAcrossMajorVersions) {
  EXPECT_TRUE(choose_arch("sm_80", 9, 0).as_ptx);
  EXPECT_TRUE(choose_arch("sm_89", 12, 0).as_ptx);
}

TEST(ArchChoice, RefusesWhatIsNewerThanTheDevice) {
  for (const char *name : {"sm_100", "sm_90"}) {
    const Error error = error_of([&] { choose_arch(name, 8, 9); });
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("which is sm_89"), std::string::npos);
  }
  EXPECT_THROW(choose_arch("sm_89", 8, 6), Error);
}

TEST(ArchChoice, RefusesNamesItDoesNotKnow) { EXPECT_THROW(choose_arch("sm_90x", 9, 0), Error); }

} // namespace
} // namespace sale
