// SPDX-License-Identifier: Apache-2.0
#include "cache/limits.hpp"
#include "cache/file_names.hpp"
#include "cache/store.hpp"
#include "tests/cache/sample_entry.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

namespace sale {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

const CompilerId compiler{"13.0", "65be0db3"};

std::string key_of(int number) { return fmt::format("{:064x}", number); }

class CacheLimits : public testing::Test {
protected:
  static void SetUpTestSuite() { keep_temporary_folders_in_memory(); }

  fs::path root() const { return folder_.path() / "cache"; }
  fs::path kernels() const { return root() / kernels_folder; }
  fs::path file_of(int number) const { return kernels() / kernel_file_name(key_of(number), compiler); }

  Store open(std::uint64_t max_files, std::uint64_t max_bytes = 0) {
    return {{.root = root(), .max_bytes = max_bytes, .max_files = max_files},
            [](const std::string &sentence) { ADD_FAILURE() << sentence; }};
  }

  // Number 0 is the oldest.
  void fill(int count) {
    const Store store = open(0);
    for (int number = 0; number < count; ++number) {
      store.publish(sample_entry(key_of(number)));
      set_age(file_of(number), std::chrono::minutes(count - number));
    }
  }

  static void set_age(const fs::path &path, std::chrono::seconds age) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - age);
  }
  static std::chrono::seconds age_of(const fs::path &path) {
    return std::chrono::duration_cast<std::chrono::seconds>(fs::file_time_type::clock::now() -
                                                            fs::last_write_time(path));
  }
  std::vector<int> kept(int count) const {
    std::vector<int> numbers;
    for (int number = 0; number < count; ++number) {
      if (fs::exists(file_of(number))) {
        numbers.push_back(number);
      }
    }
    return numbers;
  }

  TemporaryFolder folder_;
};

TEST_F(CacheLimits, EvictTheLeastRecentlyUsedFilesDownToNineTenths) {
  fill(20);
  set_age(file_of(3), 0s);
  const Collected collected = open(10).collect();
  EXPECT_EQ(collected.evicted.files, 11U);
  EXPECT_EQ(collected.kept.files, 9U);
  EXPECT_EQ(kept(20), (std::vector{3, 12, 13, 14, 15, 16, 17, 18, 19}));
  EXPECT_EQ(open(0).usage().bytes, collected.kept.bytes);
}

TEST_F(CacheLimits, EvictByBytes) {
  fill(20);
  const std::uint64_t size = fs::file_size(file_of(0));
  EXPECT_EQ(open(0, 20 * size).collect().evicted.files, 0U);
  EXPECT_EQ(open(0, 20 * size - 1).collect().kept.files, 18U);
  EXPECT_EQ(kept(20).front(), 2);
}

TEST_F(CacheLimits, LeaveEverythingWhereThereAreNone) {
  fill(20);
  EXPECT_EQ(open(0).collect().kept.files, 20U);
}

TEST_F(CacheLimits, OfOneFileKeepTheLastOne) {
  const Store store = open(1);
  for (int number = 0; number < 3; ++number) {
    store.publish(sample_entry(key_of(number)));
    EXPECT_TRUE(store.lookup(key_of(number), compiler));
  }
  EXPECT_EQ(kept(3), std::vector{2});
}

TEST_F(CacheLimits, AreKeptByPublishingAndEvictionsAreCounted) {
  fill(8);
  const Store store = open(10);
  for (int number = 8; number < 40; ++number) {
    store.publish(sample_entry(key_of(number)));
    EXPECT_LE(store.usage().files, 10U);
  }
  EXPECT_TRUE(fs::exists(file_of(39)));
  EXPECT_FALSE(fs::exists(file_of(0)));
  EXPECT_EQ(store.counters().evicted, 40U - store.usage().files);
}

TEST_F(CacheLimits, CountWhatOtherProcessesWrote) {
  const Store store = open(10);
  store.publish(sample_entry(key_of(0)));
  fill(30);
  for (int number = 30; number < 41; ++number) {
    store.publish(sample_entry(key_of(number)));
  }
  EXPECT_LE(store.usage().files, 10U);
}

TEST_F(CacheLimits, AHitMarksAnOldFileAsUsedAndLeavesANewOneAlone) {
  fill(3);
  set_age(file_of(0), 2h);
  set_age(file_of(1), 30min);
  set_age(file_of(2), -48h);
  const Store store = open(0);
  for (int number = 0; number < 3; ++number) {
    ASSERT_TRUE(store.lookup(key_of(number), compiler));
  }
  EXPECT_LT(age_of(file_of(0)), 5min);
  EXPECT_GT(age_of(file_of(1)), 25min);
  EXPECT_GT(age_of(file_of(2)), -1h) << "a stamp in the future";
}

TEST_F(CacheLimits, AHitInASystemsFolderMarksNothing) {
  fill(1);
  set_age(file_of(0), 2h);
  ASSERT_TRUE(Store({.root = root(), .writable = false}, nullptr).lookup(key_of(0), compiler));
  EXPECT_GT(age_of(file_of(0)), 1h);
}

// The clock was a year ahead when 0 and 1 were written.
TEST_F(CacheLimits, StampsInTheFutureCountAsNowAndAgeFromThenOn) {
  fill(10);
  set_age(file_of(0), -24h * 365);
  set_age(file_of(1), -24h * 366);
  open(9).collect();
  EXPECT_EQ(kept(10), (std::vector{0, 1, 3, 4, 5, 6, 7, 8, 9}));
  const Store store = open(9);
  for (int number = 10; number < 19; ++number) {
    store.publish(sample_entry(key_of(number)));
  }
  EXPECT_FALSE(fs::exists(file_of(0)));
  EXPECT_FALSE(fs::exists(file_of(1)));
}

TEST_F(CacheLimits, AFileUsedOrReplacedMeanwhileStays) {
  fill(1);
  const Descriptor folder(::open(kernels().c_str(), O_PATH));
  const std::string name = file_of(0).filename();
  FileFacts facts;
  Failure failure;
  ASSERT_EQ(look_at(folder.get(), name, facts, failure), FileStatus::ok);
  stamp_file(folder.get(), name);
  EXPECT_FALSE(remove_unchanged(folder.get(), name, facts).removed);
  ASSERT_EQ(look_at(folder.get(), name, facts, failure), FileStatus::ok);
  open(0).publish(sample_entry(key_of(0)));
  fs::last_write_time(file_of(0), fs::last_write_time(file_of(0)));
  EXPECT_FALSE(remove_unchanged(folder.get(), name, facts).removed);
  EXPECT_TRUE(fs::exists(file_of(0)));
  ASSERT_EQ(look_at(folder.get(), name, facts, failure), FileStatus::ok);
  EXPECT_TRUE(remove_unchanged(folder.get(), name, facts).removed);
  EXPECT_FALSE(remove_unchanged(folder.get(), name, facts).failure) << "gone is as good as removed";
}

TEST_F(CacheLimits, SweepTakesWhatNobodyTouchedForAnHour) {
  fill(1);
  open(0).lock_path("k", compiler);
  const fs::path locks = root() / locks_folder;
  for (const fs::path &folder : {root(), kernels()}) {
    for (const char *name : {".tmp-old", ".tmp-new"}) {
      std::ofstream(folder / name) << "?";
    }
    set_age(folder / ".tmp-old", 61min);
    set_age(folder / ".tmp-new", 59min);
  }
  for (const char *name : {"old.lock", "new.lock", "held.lock", "old.txt"}) {
    std::ofstream(locks / name) << "?";
    set_age(locks / name, 2h);
  }
  set_age(locks / "new.lock", 10min);
  set_age(file_of(0), 24h * 365);
  const Descriptor held(::open((locks / "held.lock").c_str(), O_RDWR));
  ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
  EXPECT_EQ(open(0).collect().swept, 3U);
  EXPECT_FALSE(fs::exists(kernels() / ".tmp-old"));
  EXPECT_FALSE(fs::exists(root() / ".tmp-old"));
  EXPECT_TRUE(fs::exists(kernels() / ".tmp-new"));
  EXPECT_TRUE(fs::exists(root() / ".tmp-new"));
  EXPECT_FALSE(fs::exists(locks / "old.lock"));
  for (const char *name : {"new.lock", "held.lock", "old.txt"}) {
    EXPECT_TRUE(fs::exists(locks / name)) << name;
  }
  EXPECT_TRUE(fs::exists(file_of(0)));
}

TEST_F(CacheLimits, OneCollectorIsEnough) {
  fill(5);
  open(0).collect();
  const Descriptor other(::open((root() / garbage_lock_file).c_str(), O_RDWR));
  ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
  EXPECT_TRUE(open(2).collect().busy);
  EXPECT_EQ(kept(5).size(), 5U);
  ASSERT_EQ(::flock(other.get(), LOCK_UN), 0);
  EXPECT_FALSE(open(2).collect().busy);
  EXPECT_EQ(kept(5).size(), 2U);
}

TEST_F(CacheLimits, ReadersThatRaceWithEvictionFindWholeEntriesOrNone) {
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  const Store store = open(4);
  for (int reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&, reader] {
      for (int i = reader; !stop; ++i) {
        const auto found = store.lookup(key_of(i % 12), i % 2 == 0 ? std::optional(compiler) : std::nullopt);
        wrong += found && serialize(*found) != serialize(sample_entry(key_of(i % 12))) ? 1 : 0;
      }
    });
  }
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 2; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < 200; ++i) {
        store.publish(sample_entry(key_of((i * 5 + writer) % 12)));
      }
    });
  }
  for (std::thread &writer : writers) {
    writer.join();
  }
  stop = true;
  for (std::thread &reader : readers) {
    reader.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store.counters().corrupt, 0U);
  EXPECT_EQ(store.counters().errors, 0U);
  EXPECT_GT(store.counters().evicted, 0U);
}

TEST_F(CacheLimits, AreKeptAfterProcessesRaced) {
  std::vector<pid_t> children;
  for (int process = 0; process < 4; ++process) {
    const pid_t child = ::fork();
    if (child == 0) {
      const Store store({.root = root(), .max_files = 10}, nullptr);
      for (int i = 0; i < 50; ++i) {
        store.publish(sample_entry(key_of(process * 100 + i)));
      }
      ::_exit(store.counters().errors == 0 && store.counters().published == 50 ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  // While one collects the others go on, so there may be more for a moment: the next one to publish sees it.
  const Store store = open(10);
  store.publish(sample_entry(key_of(1000)));
  EXPECT_LE(store.usage().files, 10U);
  EXPECT_TRUE(store.lookup(key_of(1000), compiler));
}

} // namespace
} // namespace sale
