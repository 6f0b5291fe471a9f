// SPDX-License-Identifier: Apache-2.0
#include "cache/store.hpp"
#include "cache/file_names.hpp"
#include "tests/cache/sample_entry.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <mutex>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>

namespace sale {
namespace {

namespace fs = std::filesystem;

const CompilerId compiler{"13.0", "65be0db3"};

class StoreTest : public testing::Test {
protected:
  Store open() {
    return {{.root = root()}, [this](const std::string &sentence) {
              const std::scoped_lock lock(mutex_);
              warnings_.push_back(sentence);
            }};
  }
  fs::path root() const { return folder_.path() / "cache"; }
  fs::path kernels() const { return root() / "kernels"; }
  static void set_age(const fs::path &file, std::chrono::seconds age) {
    fs::last_write_time(file, fs::file_time_type::clock::now() - age);
  }
  fs::path only_file() const {
    std::vector<fs::path> files;
    for (const auto &file : fs::directory_iterator(root() / "kernels")) {
      files.push_back(file.path());
    }
    EXPECT_EQ(files.size(), 1U);
    return files.at(0);
  }

  TemporaryFolder folder_;
  std::mutex mutex_;
  std::vector<std::string> warnings_;
};

TEST_F(StoreTest, FindsWhatWasPublished) {
  const Store store = open();
  const Entry entry = sample_entry();
  EXPECT_FALSE(store.lookup(entry.key, compiler));
  store.publish(entry);
  const auto found = store.lookup(entry.key, compiler);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->binary, entry.binary);
  EXPECT_EQ(store.counters().hits, 1U);
  EXPECT_EQ(store.counters().misses, 1U);
  EXPECT_EQ(store.counters().published, 1U);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(StoreTest, GivesAnotherCompilersEntryOnlyWhenThereIsNoCompiler) {
  const Store store = open();
  const Entry entry = sample_entry();
  store.publish(entry);
  EXPECT_FALSE(store.lookup(entry.key, CompilerId{"13.2", "65be0db3"}));
  EXPECT_FALSE(store.lookup(entry.key, CompilerId{"13.0", "b722dcaf"}));
  EXPECT_TRUE(store.lookup(entry.key, std::nullopt));
}

TEST_F(StoreTest, PrefersTheNewestVersionThenTheLastUseWhenThereIsNoCompiler) {
  const Store store = open();
  Entry entry = sample_entry();
  for (const CompilerId &made_by : {CompilerId{"13.0", "new"}, CompilerId{"13.0", "old"}, CompilerId{"9.2", "x"}}) {
    entry.compiler_version = made_by.version;
    entry.compiler_build = made_by.build;
    store.publish(entry);
  }
  set_age(kernels() / kernel_file_name(entry.key, {"13.0", "old"}), std::chrono::minutes(30));
  EXPECT_EQ(store.lookup(entry.key, std::nullopt)->compiler_build, "new");
  set_age(kernels() / kernel_file_name(entry.key, {"13.0", "new"}), std::chrono::minutes(40));
  EXPECT_EQ(store.lookup(entry.key, std::nullopt)->compiler_build, "old");
}

TEST_F(StoreTest, FallsBackToAnOlderEntryWhenTheNewestIsDamaged) {
  const Store store = open();
  Entry entry = sample_entry();
  store.publish(entry);
  entry.compiler_version = "12.9";
  store.publish(entry);
  fs::resize_file(kernels() / kernel_file_name(entry.key, compiler), 100);
  EXPECT_EQ(store.lookup(entry.key, std::nullopt)->compiler_version, "12.9");
}

TEST_F(StoreTest, KeepsItsFoldersPrivateAndLeavesNoTemporaryFiles) {
  open().publish(sample_entry());
  for (const fs::path &path : {root(), root() / "kernels"}) {
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all) << path;
  }
  EXPECT_EQ(only_file().extension(), ".kernel");
}

TEST_F(StoreTest, TreatsATruncatedFileAsAMissRemovesItAndSaysSo) {
  const Store store = open();
  const Entry entry = sample_entry();
  store.publish(entry);
  const std::size_t size = fs::file_size(only_file());
  std::size_t damaged = 0;
  for (std::size_t length = 0; length < size; length += 1 + size / 60) {
    store.publish(entry);
    fs::resize_file(only_file(), length);
    EXPECT_FALSE(store.lookup(entry.key, compiler)) << length;
    EXPECT_TRUE(fs::is_empty(root() / "kernels"));
    ++damaged;
  }
  EXPECT_EQ(store.counters().corrupt, damaged);
  EXPECT_EQ(warnings_.size(), damaged);
  EXPECT_NE(warnings_.at(0).find("removed the damaged cache file"), std::string::npos);
}

TEST_F(StoreTest, TreatsAFlippedBitAsAMiss) {
  const Store store = open();
  const Entry entry = sample_entry();
  store.publish(entry);
  const fs::path file = only_file();
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(-5, std::ios::end);
  stream.put('!');
  stream.close();
  EXPECT_FALSE(store.lookup(entry.key, compiler));
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(StoreTest, RefusesAnEntryUnderAnotherKernelsName) {
  const Store store = open();
  store.publish(sample_entry());
  const std::string other(64, 'b');
  const std::string name = only_file().filename().string();
  fs::rename(only_file(), root() / "kernels" / (other + name.substr(64)));
  EXPECT_FALSE(store.lookup(other, compiler));
  EXPECT_EQ(store.counters().corrupt, 1U);
}

TEST_F(StoreTest, IsNotUsedAndWarnsOnceWhenItsFolderCannotBeMade) {
  std::ofstream(root()) << "a file in the folder's place";
  const Store store = open();
  store.publish(sample_entry());
  store.publish(sample_entry(std::string(64, 'b')));
  EXPECT_FALSE(store.lookup(sample_entry().key, compiler));
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_NE(warnings_[0].find("takes no files"), std::string::npos);
  EXPECT_EQ(store.counters().errors, 3U);
  EXPECT_EQ(store.counters().published, 0U);
}

TEST_F(StoreTest, IsNotUsedWhenOthersMayWriteIntoIt) {
  open().publish(sample_entry());
  ASSERT_EQ(::chmod((root() / "kernels").c_str(), 0777), 0);
  const Store store = open();
  EXPECT_FALSE(store.lookup(sample_entry().key, compiler));
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_NE(warnings_[0].find("others may write into it"), std::string::npos);
}

TEST_F(StoreTest, MakesAFolderAnewThatVanished) {
  const Store store = open();
  for (const fs::path &gone : {kernels(), root()}) {
    store.publish(sample_entry());
    EXPECT_TRUE(store.lookup(sample_entry().key, compiler));
    fs::remove_all(gone);
    EXPECT_FALSE(store.lookup(sample_entry().key, compiler));
    EXPECT_FALSE(store.exists());
  }
  EXPECT_EQ(store.counters().published, 2U);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(StoreTest, DoesNotFollowALinkInAnEntrysPlace) {
  const Store store = open();
  store.publish(sample_entry());
  const fs::path file = only_file();
  fs::rename(file, folder_.path() / "elsewhere");
  fs::create_symlink(folder_.path() / "elsewhere", file);
  EXPECT_FALSE(store.lookup(sample_entry().key, compiler));
}

TEST_F(StoreTest, NeitherWritesNorRepairsAFolderThatSomebodyElseKeeps) {
  open().publish(sample_entry());
  const Store store({.root = root(), .writable = false},
                    [this](const std::string &sentence) { warnings_.push_back(sentence); });
  EXPECT_TRUE(store.lookup(sample_entry().key, compiler));
  store.publish(sample_entry(std::string(64, 'b')));
  fs::resize_file(only_file(), 100);
  EXPECT_FALSE(store.lookup(sample_entry().key, compiler));
  EXPECT_EQ(fs::file_size(only_file()), 100U);
  EXPECT_EQ(store.counters().errors, 1U);
  EXPECT_EQ(store.counters().corrupt, 0U);
  EXPECT_EQ(warnings_.size(), 1U);
}

TEST_F(StoreTest, NamesALockInAFolderThatItMakes) {
  const fs::path lock = open().lock_path("k", compiler);
  EXPECT_EQ(lock, root() / "locks" / "k-13.0-65be0db3.lock");
  EXPECT_EQ(fs::status(root() / "locks").permissions(), fs::perms::owner_all);
}

TEST_F(StoreTest, ListsEveryFileWithItsProblemAndClearsOnlyItsOwn) {
  const Store store = open();
  store.publish(sample_entry());
  store.publish(sample_entry(std::string(64, 'b')));
  const fs::path kernels = root() / "kernels";
  std::ofstream(kernels / "damaged.kernel") << "?";
  std::ofstream(kernels / ".tmp-left") << "?";
  std::ofstream(kernels / "notes.txt") << "?";
  const std::vector<StoredFile> files = store.list();
  ASSERT_EQ(files.size(), 3U);
  EXPECT_TRUE(files[0].entry && files[1].entry);
  EXPECT_EQ(files[0].entry->entry_name, "sale_attend");
  EXPECT_FALSE(files[2].entry);
  EXPECT_FALSE(files[2].problem.empty());
  EXPECT_EQ(store.clear().files, 4U);
  EXPECT_TRUE(fs::exists(kernels / "notes.txt"));
  EXPECT_TRUE(store.list().empty());
}

TEST_F(StoreTest, GivesThreadsThatRaceWholeEntriesOrNone) {
  const Store store = open();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&store, &wrong, t] {
      Entry entry = sample_entry();
      entry.binary.assign(20000, static_cast<unsigned char>(t));
      for (int i = 0; i < 20; ++i) {
        store.publish(entry);
        const auto found = store.lookup(entry.key, compiler);
        wrong += !found || found->binary.size() != 20000;
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store.counters().corrupt, 0U);
}

TEST_F(StoreTest, GivesProcessesThatRaceWholeEntriesOrNone) {
  std::vector<pid_t> children;
  for (int p = 0; p < 4; ++p) {
    const pid_t child = ::fork();
    if (child == 0) {
      const Store store({.root = root()}, nullptr);
      Entry entry = sample_entry();
      entry.binary.assign(20000, static_cast<unsigned char>(p));
      int wrong = 0;
      for (int i = 0; i < 20; ++i) {
        store.publish(entry);
        wrong += !store.lookup(entry.key, compiler);
      }
      ::_exit(wrong == 0 && store.counters().corrupt == 0 ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(open().list().size(), 1U);
}

TEST_F(StoreTest, SurvivesAnEntryThatIsTooLargeToWrite) {
  const Store store = open();
  Entry entry = sample_entry();
  entry.spec.assign(max_entry_header_bytes, 'x');
  EXPECT_NO_THROW(store.publish(entry));
  EXPECT_EQ(store.counters().errors, 1U);
}

} // namespace
} // namespace sale
