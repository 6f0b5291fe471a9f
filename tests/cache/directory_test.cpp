// SPDX-License-Identifier: Apache-2.0
#include "cache/directory.hpp"

#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>

namespace sale {
namespace {

namespace fs = std::filesystem;

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

TEST(CacheFolders, AreMadeWithTheirParentsForTheirOwnerAlone) {
  const TemporaryFolder temporary;
  const fs::path path = temporary.path() / "a" / "b" / "c";
  EXPECT_EQ(open_folder(path, Keeper::me, IfAbsent::leave).status, FileStatus::absent);
  EXPECT_FALSE(fs::exists(temporary.path() / "a"));
  const OpenedFolder made = open_folder(path, Keeper::me, IfAbsent::make);
  ASSERT_EQ(made.status, FileStatus::ok) << made.failure.text;
  ASSERT_EQ(open_folder_at(made.folder.get(), "d", Keeper::me, IfAbsent::make).status, FileStatus::ok);
  for (fs::path folder = path / "d"; folder != temporary.path(); folder = folder.parent_path()) {
    EXPECT_EQ(fs::status(folder).permissions(), fs::perms::owner_all) << folder;
  }
}

TEST(CacheFolders, AreNotMadeBelowAFile) {
  const TemporaryFolder temporary;
  std::ofstream(temporary.path() / "file") << "?";
  const OpenedFolder opened = open_folder(temporary.path() / "file" / "a", Keeper::me, IfAbsent::make);
  EXPECT_EQ(opened.status, FileStatus::failed);
  EXPECT_EQ(opened.failure.text, "Not a directory");
  EXPECT_EQ(open_folder({}, Keeper::me, IfAbsent::make).status, FileStatus::failed);
}

TEST(CacheFolders, NameEverythingInThem) {
  const TemporaryFolder temporary;
  std::set<std::string> expected;
  for (int i = 0; i < 1000; ++i) {
    expected.insert(".x" + std::to_string(i));
    std::ofstream(temporary.path() / (".x" + std::to_string(i))) << "";
  }
  const OpenedFolder opened = open_folder(temporary.path(), Keeper::me, IfAbsent::leave);
  std::set<std::string> names;
  EXPECT_FALSE(for_each_name(opened.folder.get(), [&](std::string_view name) { names.emplace(name); }));
  EXPECT_EQ(names, expected);
}

} // namespace
} // namespace sale
