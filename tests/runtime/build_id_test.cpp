// SPDX-License-Identifier: Apache-2.0
#include "runtime/build_id.hpp"
#include "tests/cache/sample_entry.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace sale {
namespace {

TEST(BuildId, IsEmptyForWhatIsNoElfFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_build_id(folder.path() / "absent"), "");
  EXPECT_EQ(read_build_id(folder.path()), "");
  std::ofstream(folder.path() / "text")
      << "not an ELF file, but longer than an ELF header is, for what it is worth....";
  EXPECT_EQ(read_build_id(folder.path() / "text"), "");
}

// The first kilobyte of an ELF file holds its headers: no damage there may crash the reader.
TEST(BuildId, SurvivesDamagedElfFiles) {
  std::ifstream self("/proc/self/exe", std::ios::binary);
  std::string bytes(4096, '\0');
  ASSERT_TRUE(self.read(bytes.data(), static_cast<std::streamsize>(bytes.size())));
  const TemporaryFolder folder;
  const auto path = folder.path() / "damaged";
  for (std::size_t at = 16; at < 1024; at += 3) {
    std::string damaged = bytes;
    damaged[at] = '\xff';
    std::ofstream(path, std::ios::binary) << damaged;
    EXPECT_NO_THROW(read_build_id(path));
    std::ofstream(path, std::ios::binary) << bytes.substr(0, at);
    EXPECT_EQ(read_build_id(path).find_first_not_of("0123456789abcdef"), std::string::npos);
  }
}

} // namespace
} // namespace sale
