// SPDX-License-Identifier: Apache-2.0
#include "cache/history.hpp"
#include "cache/descriptor.hpp"
#include "cache/file_names.hpp"
#include "cache/store.hpp"
#include "tests/cache/sample_entry.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace sale {
namespace {

namespace fs = std::filesystem;

const CompilerId compiler{"13.0", "65be0db3"};

class CacheHistory : public testing::Test {
protected:
  fs::path file() const { return folder_.path() / history_file; }
  void write(const std::string &text) const {
    std::ofstream(file()) << text;
    fs::permissions(file(), fs::perms(0600));
  }
  CacheCounters read() const { return read_history(root_.get(), Keeper::me); }

  TemporaryFolder folder_;
  Descriptor root_{::open(folder_.path().c_str(), O_PATH)};
};

TEST_F(CacheHistory, IsTheSumOfItsLines) {
  CacheCounters counters;
  std::uint64_t value = 1;
  for (const CounterField &field : counter_fields()) {
    counters.*field.value = value++;
  }
  append_history(root_.get(), counters);
  append_history(root_.get(), counters);
  value = 1;
  for (const CounterField &field : counter_fields()) {
    EXPECT_EQ(read().*field.value, 2 * value++) << field.name;
  }
  struct stat info{};
  ASSERT_EQ(::stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(CacheHistory, IsNothingWhereThereIsNone) { EXPECT_EQ(read().misses, 0U); }

TEST_F(CacheHistory, IgnoresMalformedLinesAndCountersOfOtherVersions) {
  write("sale misses=1\n"
        "\n"
        "nonsense\n"
        "sale misses\n"
        "sale misses=\n"
        "sale misses=-4\n"
        "sale misses=4x\n"
        "sale misses=9999999999999\n"
        "sale misses=4 sale misses=4\n"
        "sale misses=4sale misses=4\n"
        "salt misses=4\n" +
        std::string(1000, '\0') + "\nsale evictions=2 inventions=7 misses=1\n" + "sale misses=8");
  EXPECT_EQ(read().misses, 2U);
  EXPECT_EQ(read().evictions, 2U);
}

TEST_F(CacheHistory, StaysSmallAndKeepsItsSum) {
  CacheCounters one;
  one.user_hits = 123456;
  for (int i = 0; i < 5000; ++i) {
    append_history(root_.get(), one);
  }
  EXPECT_LE(fs::file_size(file()), 66U << 10);
  EXPECT_EQ(read().user_hits, 5000U * 123456);
  EXPECT_FALSE(fs::exists(folder_.path() / ".tmp-1"));
}

TEST_F(CacheHistory, StartsAnewWhereItIsAbsurdlyLarge) {
  write(std::string(3 << 20, 'x'));
  CacheCounters one;
  one.misses = 1;
  append_history(root_.get(), one);
  append_history(root_.get(), one);
  EXPECT_LE(fs::file_size(file()), 100U);
  EXPECT_EQ(read().misses, 1U);
}

TEST_F(CacheHistory, GetsOneLineOfEveryStoreThatDidSomething) {
  const fs::path root = folder_.path() / "cache";
  const StoreOptions options{.root = root};
  {
    const Store idle(options, nullptr);
  }
  EXPECT_FALSE(fs::exists(root));
  {
    EXPECT_FALSE(Store(options, nullptr).lookup("k", compiler));
  }
  EXPECT_FALSE(fs::exists(root)) << "a miss makes no folder";
  for (int again = 0; again < 3; ++again) {
    const Store store(options, nullptr);
    store.publish(sample_entry());
    store.lookup(sample_entry().key, compiler);
    store.lookup("k", compiler);
  }
  {
    EXPECT_TRUE(Store({.root = root, .writable = false}, nullptr).lookup(sample_entry().key, compiler));
  }
  const CacheCounters sum = Store(options, nullptr).history();
  EXPECT_EQ(sum.published, 3U);
  EXPECT_EQ(sum.user_hits, 3U);
  EXPECT_EQ(sum.misses, 3U);
}

TEST_F(CacheHistory, GetsWhatTheOwnerOfAStoreCountedInstead) {
  const StoreOptions options{.root = folder_.path() / "cache"};
  {
    Store store(options, nullptr);
    store.publish(sample_entry());
    CacheCounters counters;
    counters.published = 1;
    counters.memory_hits = 5;
    store.set_history(counters);
  }
  const CacheCounters sum = Store(options, nullptr).history();
  EXPECT_EQ(sum.published, 1U);
  EXPECT_EQ(sum.memory_hits, 5U);
}

TEST_F(CacheHistory, TakesLinesOfManyProcesses) {
  std::vector<pid_t> children;
  for (int process = 0; process < 4; ++process) {
    const pid_t child = ::fork();
    if (child == 0) {
      CacheCounters one;
      one.misses = 1;
      for (int i = 0; i < 200; ++i) {
        append_history(root_.get(), one);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
  }
  EXPECT_EQ(read().misses, 800U);
}

} // namespace
} // namespace sale
