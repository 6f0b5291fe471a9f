// SPDX-License-Identifier: Apache-2.0
#include "cache/directory.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace sale {
namespace {

class DefaultCacheDir : public testing::Test {
protected:
  void SetUp() override {
    for (const char *name : {"SALE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"}) {
      ::unsetenv(name);
    }
  }
};

TEST_F(DefaultCacheDir, IsSaleCacheDirBeforeAllElse) {
  ::setenv("SALE_CACHE_DIR", "/a", 1);
  ::setenv("XDG_CACHE_HOME", "/b", 1);
  ::setenv("HOME", "/c", 1);
  EXPECT_EQ(default_cache_dir(), "/a");
}

TEST_F(DefaultCacheDir, IsBelowXdgCacheHomeBeforeHome) {
  ::setenv("XDG_CACHE_HOME", "/b", 1);
  ::setenv("HOME", "/c", 1);
  EXPECT_EQ(default_cache_dir(), "/b/sale");
}

TEST_F(DefaultCacheDir, IsBelowHomeOtherwise) {
  ::setenv("HOME", "/c", 1);
  EXPECT_EQ(default_cache_dir(), "/c/.cache/sale");
}

TEST_F(DefaultCacheDir, IgnoresEmptyVariablesAndARelativeXdgCacheHome) {
  ::setenv("SALE_CACHE_DIR", "", 1);
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  ::setenv("HOME", "/c", 1);
  EXPECT_EQ(default_cache_dir(), "/c/.cache/sale");
}

TEST_F(DefaultCacheDir, IsEmptyWhenTheEnvironmentNamesNone) { EXPECT_TRUE(default_cache_dir().empty()); }

} // namespace
} // namespace sale
