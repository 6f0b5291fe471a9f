// SPDX-License-Identifier: Apache-2.0
// Folders and files that are somebody else's, links in their places, and an odd umask.
#include "cache/file_names.hpp"
#include "cache/history.hpp"
#include "cache/store.hpp"
#include "tests/cache/sample_entry.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sale {
namespace {

namespace fs = std::filesystem;

const CompilerId compiler{"13.0", "65be0db3"};
constexpr uid_t stranger = 54321;

class StoreSecurity : public testing::Test {
protected:
  fs::path root() const { return folder_.path() / "cache"; }
  fs::path kernels() const { return root() / kernels_folder; }
  fs::path entry_file() const { return kernels() / kernel_file_name(entry_.key, compiler); }
  fs::path elsewhere() const { return folder_.path() / "elsewhere"; }

  Store open(bool writable = true) {
    return {{.root = root(), .writable = writable, .max_files = 1},
            [this](const std::string &sentence) { warnings_ += sentence + "\n"; }};
  }
  bool finds(const Store &store) const { return store.lookup(entry_.key, compiler).has_value(); }

  void expect_warning(const std::string &part) const {
    EXPECT_NE(warnings_.find(part), std::string::npos) << warnings_;
  }

  // In place of `path` a link to what it was.
  void move_behind_link(const fs::path &path) const {
    fs::rename(path, elsewhere());
    fs::create_symlink(elsewhere(), path);
  }

  static std::string contents(const fs::path &path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  // Runs `check` in a child process as another user, whom root's rights do not hide mistakes from; true if it is true.
  static bool holds_as_user(uid_t user, const std::function<bool()> &check) {
    const pid_t child = ::fork();
    if (child == 0) {
      bool holds = false;
      if (::setegid(user) == 0 && ::seteuid(user) == 0) {
        holds = check();
      }
      ::_exit(holds ? 0 : 1);
    }
    int status = 1;
    return ::waitpid(child, &status, 0) == child && status == 0;
  }

  void give_away(const fs::path &path) const { ASSERT_EQ(::lchown(path.c_str(), stranger, stranger), 0); }

  TemporaryFolder folder_;
  Entry entry_ = sample_entry();
  std::string warnings_;
};

class StoreSecurityAsRoot : public StoreSecurity {
protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "only root can give files away";
    }
    open().publish(entry_);
  }
};

TEST_F(StoreSecurity, MakesFoldersAndFilesForTheirOwnerAloneWhateverTheUmask) {
  for (const mode_t mask : {mode_t{0}, mode_t{0777}}) {
    const fs::path root = folder_.path() / std::to_string(mask) / "deep" / "cache";
    fs::create_directory(folder_.path() / std::to_string(mask));
    const bool is_root = ::geteuid() == 0;
    if (is_root) {
      give_away(folder_.path());
      give_away(folder_.path() / std::to_string(mask));
    }
    EXPECT_TRUE(holds_as_user(is_root ? stranger : ::geteuid(), [&] {
      ::umask(mask);
      std::string problems;
      {
        const Store store({.root = root, .max_files = 1}, [&](const std::string &sentence) { problems += sentence; });
        store.lock_path(entry_.key, compiler);
        store.publish(sample_entry(std::string(64, 'b')));
        store.publish(entry_);
        if (!store.lookup(entry_.key, compiler)) {
          problems += "not found";
        }
      }
      for (const fs::path &path : {root.parent_path(), root, root / kernels_folder, root / locks_folder}) {
        problems += fs::status(path).permissions() == fs::perms::owner_all ? "" : path.string() + " ";
      }
      struct stat info{};
      const fs::path file = root / kernels_folder / kernel_file_name(entry_.key, compiler);
      if (::stat(file.c_str(), &info) != 0 || (info.st_mode & 07777) != 0600) {
        problems += file;
      }
      std::fputs(problems.c_str(), stderr);
      return problems.empty();
    })) << mask;
  }
}

TEST_F(StoreSecurity, DoesNotUseAFolderThatOthersMayWriteInto) {
  open().publish(entry_);
  for (const fs::path &path : {root(), kernels()}) {
    for (const mode_t mode : {0770, 0702}) {
      ASSERT_EQ(::chmod(path.c_str(), mode), 0);
      for (const bool writable : {true, false}) {
        warnings_.clear();
        const Store store = open(writable);
        EXPECT_FALSE(finds(store)) << path;
        store.publish(sample_entry(std::string(64, 'b')));
        EXPECT_THROW(store.list(), std::exception);
        EXPECT_THROW(store.clear(), std::exception);
        expect_warning("others may write into it");
      }
    }
    ASSERT_EQ(::chmod(path.c_str(), 0700), 0);
  }
  EXPECT_TRUE(finds(open()));
  EXPECT_EQ(std::distance(fs::directory_iterator(kernels()), {}), 1);
}

TEST_F(StoreSecurity, DoesNotReadAFileThatOthersMayWriteInto) {
  open().publish(entry_);
  ASSERT_EQ(::chmod(entry_file().c_str(), 0666), 0);
  EXPECT_FALSE(finds(open()));
  expect_warning("others may write into it");
  open().publish(entry_);
  EXPECT_TRUE(finds(open()));
}

TEST_F(StoreSecurity, RefusesALinkInThePlaceOfTheKernelsFolder) {
  open().publish(entry_);
  move_behind_link(kernels());
  const std::string before = contents(elsewhere() / entry_file().filename());
  const Store store = open();
  EXPECT_FALSE(finds(store));
  store.publish(sample_entry(std::string(64, 'b')));
  EXPECT_TRUE(store.make_folder());
  EXPECT_THROW(store.list(), std::exception);
  EXPECT_THROW(store.clear(), std::exception);
  EXPECT_THROW(store.collect(), std::exception);
  EXPECT_EQ(std::distance(fs::directory_iterator(elsewhere()), {}), 1);
  EXPECT_EQ(contents(elsewhere() / entry_file().filename()), before);
  EXPECT_EQ(store.counters().published, 0U);
}

TEST_F(StoreSecurity, RefusesALinkInThePlaceOfAnEntryAndReplacesItByPublishing) {
  open().publish(entry_);
  move_behind_link(entry_file());
  std::ofstream(elsewhere(), std::ios::trunc) << "precious";
  const Store store = open();
  EXPECT_FALSE(finds(store));
  expect_warning("it is a symbolic link");
  EXPECT_FALSE(store.list().at(0).entry);
  store.publish(entry_);
  EXPECT_TRUE(finds(store));
  EXPECT_FALSE(fs::is_symlink(entry_file()));
  EXPECT_EQ(contents(elsewhere()), "precious");
}

TEST_F(StoreSecurity, RefusesLinksInThePlacesOfItsOtherFiles) {
  std::ofstream(elsewhere()) << "precious";
  const auto modified = fs::last_write_time(elsewhere());
  open().publish(entry_);
  fs::remove(root() / history_file);
  for (const fs::path &path :
       {kernels() / ".tmp-1", root() / ".tmp-2", root() / garbage_lock_file, root() / history_file}) {
    fs::create_symlink(elsewhere(), path);
  }
  {
    const Store store = open();
    store.publish(entry_);
    store.publish(sample_entry(std::string(64, 'b'))); // Above the limit, but no lock to collect by.
    expect_warning("gc.lock is a symbolic link");
    EXPECT_TRUE(store.collect().failure);
    EXPECT_EQ(store.history().published, 0U);
    EXPECT_EQ(store.list().size(), 2U);
    store.clear();
  }
  EXPECT_EQ(contents(elsewhere()), "precious");
  EXPECT_EQ(fs::last_write_time(elsewhere()), modified);
}

TEST_F(StoreSecurity, NamesNoLockBehindALink) {
  fs::create_directory(elsewhere());
  ASSERT_TRUE(open().lock_path("k", compiler).has_filename());
  fs::remove(root() / locks_folder);
  fs::create_symlink(elsewhere(), root() / locks_folder);
  EXPECT_TRUE(open().lock_path("k", compiler).empty());
  std::ofstream(elsewhere() / "old.lock") << "?";
  fs::last_write_time(elsewhere() / "old.lock", fs::file_time_type::clock::now() - std::chrono::hours(9));
  open().publish(entry_);
  EXPECT_TRUE(open().collect().failure);
  EXPECT_TRUE(fs::exists(elsewhere() / "old.lock"));
}

TEST_F(StoreSecurity, IsNotHungByNamedPipes) {
  open().publish(entry_);
  for (const fs::path &path : {entry_file(), root() / garbage_lock_file, root() / history_file}) {
    fs::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  }
  const Store store = open();
  EXPECT_FALSE(finds(store));
  store.publish(entry_);
  EXPECT_TRUE(finds(store));
  EXPECT_TRUE(store.collect().failure);
}

TEST_F(StoreSecurity, FollowsAnOwnLinkToTheRoot) {
  open().publish(entry_);
  move_behind_link(root());
  EXPECT_TRUE(finds(open()));
}

TEST_F(StoreSecurityAsRoot, DoesNotFollowAStrangersLinkToTheRoot) {
  move_behind_link(root());
  give_away(root());
  for (const fs::path &path : {root(), root() / ""}) {
    warnings_.clear();
    const Store store({.root = path}, [this](const std::string &sentence) { warnings_ += sentence; });
    EXPECT_FALSE(finds(store));
    expect_warning("it is a symbolic link of user 54321");
    EXPECT_TRUE(store.make_folder());
  }
}

TEST_F(StoreSecurityAsRoot, DoesNotUseAStrangersFolder) {
  for (const fs::path &path : {root(), kernels()}) {
    give_away(path);
    for (const bool writable : {true, false}) {
      warnings_.clear();
      const Store store = open(writable);
      EXPECT_FALSE(finds(store));
      store.publish(sample_entry(std::string(64, 'b')));
      expect_warning("it belongs to user 54321");
      EXPECT_EQ(store.counters().published, 0U);
    }
    ASSERT_EQ(::lchown(path.c_str(), 0, 0), 0);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(kernels()), {}), 1);
}

TEST_F(StoreSecurityAsRoot, DoesNotReadAStrangersFileAndReplacesItByPublishing) {
  give_away(entry_file());
  EXPECT_FALSE(finds(open(false)));
  const Store store = open();
  EXPECT_FALSE(finds(store));
  expect_warning("it belongs to user 54321");
  store.publish(entry_);
  EXPECT_TRUE(finds(store));
}

TEST_F(StoreSecurityAsRoot, DoesNotUseAStrangersHistoryAndLock) {
  {
    const Store store = open();
    store.publish(entry_);
  }
  std::ofstream(root() / garbage_lock_file) << "";
  give_away(root() / garbage_lock_file);
  give_away(root() / history_file);
  const std::string before = contents(root() / history_file);
  {
    const Store store = open();
    EXPECT_TRUE(finds(store));
    EXPECT_EQ(store.history().published, 0U);
    EXPECT_TRUE(store.collect().failure);
  }
  EXPECT_EQ(contents(root() / history_file), before);
}

TEST_F(StoreSecurityAsRoot, ServesRootsFolderToOthersAsASystemsFolderOnly) {
  fs::permissions(folder_.path(), fs::perms(0755));
  fs::permissions(root(), fs::perms(0755));
  fs::permissions(kernels(), fs::perms(0755));
  fs::permissions(entry_file(), fs::perms(0644));
  const auto as_stranger = [&](bool writable) {
    return holds_as_user(stranger, [&] {
      const Store store({.root = root(), .writable = writable}, nullptr);
      return finds(store) && store.counters().errors == 0;
    });
  };
  EXPECT_TRUE(as_stranger(false));
  EXPECT_FALSE(as_stranger(true));
  fs::permissions(entry_file(), fs::perms(0600));
  EXPECT_FALSE(as_stranger(false));
}

} // namespace
} // namespace sale
