// SPDX-License-Identifier: Apache-2.0
#include "cache/compiler_id.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace sale {
namespace {

TEST(CompilerVersions, AreOrderedNumberByNumber) {
  const std::vector<std::string> ascending = {
      "", "9.2", "12.0", "12.8", "12.8.1", "12.10", "13.0", "13.a", "99999999999999999999999999.0", "unknown"};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      const int order = compare_versions(ascending[i], ascending[j]);
      EXPECT_EQ(order < 0, i < j) << ascending[i] << " " << ascending[j];
      EXPECT_EQ(order > 0, i > j) << ascending[i] << " " << ascending[j];
    }
  }
}

TEST(CompilerVersions, AreEqualButForLeadingZeros) { EXPECT_EQ(compare_versions("013.00", "13.0"), 0); }

TEST(CompilerId, IsNewerByVersionThenByBuild) {
  EXPECT_TRUE(is_newer({"13.0", "a"}, {"12.9", "b"}));
  EXPECT_FALSE(is_newer({"12.9", "b"}, {"13.0", "a"}));
  EXPECT_TRUE(is_newer({"13.0", "b"}, {"13.0", "a"}));
  EXPECT_FALSE(is_newer({"13.0", "a"}, {"13.0", "a"}));
  EXPECT_NE(is_newer({"13.0", "a"}, {"13.00", "a"}), is_newer({"13.00", "a"}, {"13.0", "a"}));
}

} // namespace
} // namespace sale
