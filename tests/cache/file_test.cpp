// SPDX-License-Identifier: Apache-2.0
#include "cache/file.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>

namespace sale {
namespace {

namespace fs = std::filesystem;

const std::vector<unsigned char> bytes = {'s', 'a', 'l', 'e'};

class CacheFile : public testing::Test {
protected:
  fs::path path() const { return folder_.path() / "file"; }
  std::size_t files() const { return std::distance(fs::directory_iterator(folder_.path()), {}); }
  TemporaryFolder folder_;
};

TEST_F(CacheFile, ComesBackAsItWasWrittenAndIsItsOwnersAlone) {
  ASSERT_FALSE(write_file_atomically(path(), bytes));
  ASSERT_FALSE(write_file_atomically(path(), bytes));
  const FileContents contents = read_file(path(), bytes.size());
  EXPECT_EQ(contents.status, FileStatus::ok);
  EXPECT_EQ(contents.bytes, bytes);
  EXPECT_EQ(contents.facts.bytes, bytes.size());
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(fs::status(path()).permissions(), fs::perms(0600));
}

TEST_F(CacheFile, IsAbsentWhereThereIsNone) {
  EXPECT_EQ(read_file(path(), 9).status, FileStatus::absent);
  ASSERT_FALSE(write_file_atomically(path(), bytes));
  EXPECT_EQ(read_file(path() / "below", 9).status, FileStatus::absent);
}

TEST_F(CacheFile, IsNotReadWhereItIsTooLargeOrNoFile) {
  std::ofstream(path()) << "x";
  fs::resize_file(path(), std::uintmax_t{1} << 40); // Takes no space, and must take no memory.
  EXPECT_EQ(read_file(path(), 1 << 20).problem, "its 1099511627776 bytes are more than the 1048576 allowed");
  EXPECT_EQ(read_file(folder_.path(), 9).problem, "it is not a regular file");
  fs::create_symlink(path(), folder_.path() / "link");
  EXPECT_EQ(read_file(folder_.path() / "link", 9).problem, "it is a symbolic link");
  ASSERT_EQ(::mkfifo((folder_.path() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_file(folder_.path() / "pipe", 9).problem, "it is not a regular file");
}

TEST_F(CacheFile, LeavesNothingBehindWhereItCannotBeWritten) {
  fs::create_directories(path() / "full");
  EXPECT_EQ(write_file_atomically(path(), bytes), "rename: Is a directory");
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(write_file_atomically(folder_.path() / "none" / "file", bytes), "open: No such file or directory");
}

TEST_F(CacheFile, ReplacesALinkAndNotWhatItNames) {
  std::ofstream(folder_.path() / "precious") << "precious";
  fs::create_symlink("precious", path());
  ASSERT_FALSE(write_file_atomically(path(), bytes));
  EXPECT_FALSE(fs::is_symlink(path()));
  EXPECT_EQ(fs::file_size(folder_.path() / "precious"), 8U);
}

TEST_F(CacheFile, HasAStampThatNoDateBreaks) {
  std::ofstream(path()) << "x";
  for (const std::time_t date : {std::time_t{-5'000'000'000}, std::time_t{20'000'000'000}}) {
    const timespec times[2] = {{date, 0}, {date, 0}};
    if (::utimensat(AT_FDCWD, path().c_str(), times, 0) == 0) {
      const std::int64_t stamp = read_file(path(), 9).facts.stamp;
      EXPECT_GE(stamp, 0);
      EXPECT_EQ(stamp > stamp_now(), date > 0);
    }
  }
}

} // namespace
} // namespace sale
