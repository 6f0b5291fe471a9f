// SPDX-License-Identifier: Apache-2.0
// Damaged files: never a wrong entry, and the next publish repairs.
#include "cache/file_names.hpp"
#include "cache/store.hpp"
#include "tests/cache/sample_entry.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

namespace sale {
namespace {

namespace fs = std::filesystem;

class DamagedEntry : public testing::Test {
protected:
  static void SetUpTestSuite() { keep_temporary_folders_in_memory(); }

  void SetUp() override { store_.publish(entry_); }

  void write(const std::vector<unsigned char> &bytes) const {
    std::ofstream(file_, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

  // With a compiler and without, since these look for the file in two ways.
  void expect_repaired(const std::vector<unsigned char> &damaged, const std::string &what) {
    const auto any = ++rounds_ % 2 == 0 ? std::optional(compiler_of(entry_)) : std::nullopt;
    write(damaged);
    EXPECT_FALSE(store_.lookup(entry_.key, any)) << what;
    EXPECT_FALSE(fs::exists(file_)) << what;
    store_.publish(entry_);
    const auto found = store_.lookup(entry_.key, any);
    ASSERT_TRUE(found) << what;
    EXPECT_EQ(serialize(*found), bytes_) << what;
  }

  void TearDown() override {
    EXPECT_EQ(store_.counters().corrupt, static_cast<std::size_t>(rounds_));
    EXPECT_EQ(store_.counters().errors, 0U);
    EXPECT_EQ(warnings_, rounds_);
    fmt::print("{} damaged files\n", rounds_);
  }

  TemporaryFolder folder_;
  int warnings_ = 0;
  int rounds_ = 0;
  Entry entry_ = sample_entry();
  std::vector<unsigned char> bytes_ = serialize(entry_);
  Store store_{{.root = folder_.path() / "cache"}, [this](const std::string &) { ++warnings_; }};
  fs::path file_ = store_.root() / kernels_folder / kernel_file_name(entry_.key, compiler_of(entry_));
};

TEST_F(DamagedEntry, IsAMissAndRepairedWhicheverByteOfPreambleAndHeaderFlips) {
  const std::size_t header_end = bytes_.size() - entry_.binary.size();
  for (std::size_t at = 0; at < header_end; ++at) {
    for (const int mask : {1 << (at % 8), 0xff}) {
      std::vector<unsigned char> damaged = bytes_;
      damaged[at] ^= static_cast<unsigned char>(mask);
      expect_repaired(damaged, std::to_string(at));
    }
  }
}

TEST_F(DamagedEntry, IsAMissAndRepairedWithRandomFlipsInTheBody) {
  std::minstd_rand random(3);
  const std::size_t body = bytes_.size() - entry_.binary.size();
  for (int round = 0; round < 300; ++round) {
    std::vector<unsigned char> damaged = bytes_;
    for (unsigned flips = 1 + random() % 4; flips > 0; --flips) {
      damaged[body + random() % entry_.binary.size()] ^= static_cast<unsigned char>(1 << random() % 8);
    }
    if (damaged != bytes_) {
      expect_repaired(damaged, std::to_string(round));
    }
  }
}

TEST_F(DamagedEntry, IsAMissAndRepairedTruncatedAtEveryLength) {
  for (std::size_t length = 0; length < bytes_.size(); ++length) {
    expect_repaired({bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(length)}, std::to_string(length));
  }
}

TEST_F(DamagedEntry, IsAMissAndRepairedWhenItIsAnothersOrHasMoreBytes) {
  std::vector<unsigned char> longer = bytes_;
  longer.push_back(0);
  expect_repaired(longer, "longer");
  Entry other = entry_;
  other.key = std::string(64, 'b');
  expect_repaired(serialize(other), "another key");
  other = entry_;
  other.compiler_build = "other";
  expect_repaired(serialize(other), "another compiler");
  other = entry_;
  other.compiler_version = "12.0";
  expect_repaired(serialize(other), "another version");
}

} // namespace
} // namespace sale
