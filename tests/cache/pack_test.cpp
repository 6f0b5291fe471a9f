// SPDX-License-Identifier: Apache-2.0
#include "cache/pack.hpp"
#include "sale/error.hpp"
#include "tests/cache/sample_entry.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

namespace sale {
namespace {

namespace fs = std::filesystem;

using Bytes = std::vector<unsigned char>;

const PackMaker maker{"1.2.3", "feedbeef"};

std::string key_of(char c) { return std::string(64, c); } // NOLINT(modernize-return-braced-init-list)

Entry entry_of(char key, const std::string &version = "13.0", const std::string &build = "b1") {
  Entry entry = sample_entry(key_of(key));
  entry.compiler_version = version;
  entry.compiler_build = build;
  // Tells entries of one key apart.
  entry.binary.insert(entry.binary.end(), version.begin(), version.end());
  entry.binary.insert(entry.binary.end(), build.begin(), build.end());
  return entry;
}

Bytes contents(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const fs::path &path, const Bytes &bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

// Puts a matching checksum into bytes whose index ends at `index_end`, so that the parser looks further.
Bytes with_checksum(Bytes bytes, std::size_t index_end) {
  Sha256 hash;
  hash.update(bytes.data(), 24);
  hash.update(bytes.data() + 56, index_end - 56);
  const Digest digest = hash.finish();
  std::copy(digest.begin(), digest.end(), bytes.begin() + 24);
  return bytes;
}

class PackTest : public testing::Test {
protected:
  const fs::path &folder() const { return folder_.path(); }
  fs::path file() const { return folder() / "kernels.pack"; }

  PackFacts write_sample(std::vector<Entry> entries = {entry_of('a'), entry_of('b'), entry_of('c')}) const {
    return write_pack(file(), entries, maker);
  }

  Pack open() {
    return Pack::open(file(), {}, [this](const std::string &sentence) { warnings_.push_back(sentence); });
  }

  std::string refusal(const fs::path &path) const {
    try {
      Pack::open(path);
    } catch (const Error &error) {
      EXPECT_EQ(error.kind(), ErrorKind::cache);
      return error.what();
    }
    return {};
  }

  std::vector<std::string> warnings_;

private:
  TemporaryFolder folder_;
};

TEST_F(PackTest, GivesBackEveryEntryAsItWasWritten) {
  write_sample();
  const Pack pack = open();
  for (const char key : {'a', 'b', 'c'}) {
    const auto entry = pack.lookup(key_of(key), std::nullopt);
    ASSERT_TRUE(entry);
    EXPECT_EQ(serialize(*entry), serialize(entry_of(key)));
  }
  EXPECT_FALSE(pack.lookup(key_of('0'), std::nullopt));
  EXPECT_FALSE(pack.lookup(key_of('d'), std::nullopt));
  EXPECT_FALSE(pack.lookup("", std::nullopt));
  EXPECT_EQ(pack.errors(), 0U);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(PackTest, StatesItsFacts) {
  Entry other = entry_of('d', "9.2");
  other.target = "compute_80";
  other.kind = BinaryKind::ptx;
  const PackFacts written = write_sample({entry_of('a'), entry_of('b', "12.8"), other, entry_of('c', "12.8")});
  const Pack pack = open();
  for (const PackFacts &facts : {written, pack.facts()}) {
    EXPECT_EQ(facts.library_version, "1.2.3");
    EXPECT_EQ(facts.templates, "feedbeef");
    EXPECT_EQ(facts.compiler_versions, (std::vector<std::string>{"9.2", "12.8", "13.0"}));
    EXPECT_EQ(facts.targets, (std::vector<std::string>{"compute_80", "sm_90"}));
    EXPECT_EQ(facts.entries, 4U);
    EXPECT_EQ(facts.bytes, fs::file_size(file()));
  }
  EXPECT_EQ(pack.entries()[3].spec, other.spec);
}

TEST_F(PackTest, HasTheSameBytesInWhateverOrderEntriesCome) {
  write_sample({entry_of('a', "12.8"), entry_of('a', "13.0"), entry_of('b')});
  const Bytes first = contents(file());
  write_sample({entry_of('b'), entry_of('a', "13.0"), entry_of('b'), entry_of('a', "12.8")});
  EXPECT_EQ(contents(file()), first);
}

TEST_F(PackTest, TakesTheFirstOfTwoEntriesOfOneKeyAndCompiler) {
  Entry second = entry_of('a');
  second.binary = {1, 2, 3};
  EXPECT_EQ(write_sample({entry_of('a'), second}).entries, 1U);
  EXPECT_EQ(open().lookup(key_of('a'), std::nullopt)->binary, entry_of('a').binary);
}

TEST_F(PackTest, MayBeEmpty) {
  write_sample({});
  const Pack pack = open();
  EXPECT_TRUE(pack.entries().empty());
  EXPECT_FALSE(pack.lookup(key_of('a'), std::nullopt));
}

TEST_F(PackTest, GivesTheAskedCompilersEntryOrTheNewest) {
  write_sample({entry_of('a', "9.2"), entry_of('a', "13.0", "b1"), entry_of('a', "13.0", "b2"), entry_of('a', "12.8")});
  const Pack pack = open();
  EXPECT_EQ(pack.lookup(key_of('a'), std::nullopt)->compiler_build, "b2");
  EXPECT_EQ(pack.lookup(key_of('a'), CompilerId{"13.0", "b1"})->binary, entry_of('a', "13.0", "b1").binary);
  EXPECT_EQ(pack.lookup(key_of('a'), CompilerId{"9.2", "b1"})->compiler_version, "9.2");
  EXPECT_FALSE(pack.lookup(key_of('a'), CompilerId{"13.0", "b3"}));
  EXPECT_FALSE(pack.lookup(key_of('a'), CompilerId{"13.1", "b1"}));
}

TEST_F(PackTest, FallsBackToAnOlderCompilersEntryWhenTheNewestIsDamaged) {
  write_sample({entry_of('a', "12.8"), entry_of('a', "13.0")});
  Bytes bytes = contents(file());
  bytes[open().entries()[0].offset + 100] ^= 1;
  write(file(), bytes);
  const Pack pack = open();
  EXPECT_EQ(pack.lookup(key_of('a'), std::nullopt)->compiler_version, "12.8");
  EXPECT_EQ(pack.errors(), 1U);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_EQ(warnings_[0], "the kernel \"attend sm_90 bf16 d128\" in the pack " + file().string() +
                              " is not used: it does not have the digest that the pack's index states");
}

TEST_F(PackTest, IsRefusedWhenTruncatedAnywhere) {
  write_sample({entry_of('a')});
  // From the end, so that each length takes one call.
  for (std::size_t length = fs::file_size(file()); length-- > 0;) {
    fs::resize_file(file(), length);
    ASSERT_NE(refusal(file()), "") << length;
  }
}

TEST_F(PackTest, IsRefusedWithBytesAfterItsEnd) {
  write_sample();
  fs::resize_file(file(), fs::file_size(file()) + 1);
  EXPECT_NE(refusal(file()), "");
}

TEST_F(PackTest, GivesNoWrongKernelWhenAnyBitFlips) {
  write_sample({entry_of('a'), entry_of('b')});
  Bytes bytes = contents(file());
  const std::size_t index_end = open().entries()[0].offset;
  for (std::size_t i = 0; i < index_end; ++i) {
    const auto bit = static_cast<unsigned char>(1 << (i % 8));
    bytes[i] ^= bit;
    ASSERT_FALSE(parse_pack_index(std::span(bytes).first(index_end), bytes.size()).index) << i;
    bytes[i] ^= bit;
  }
  const Pack pack = open();
  std::fstream out(file(), std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](std::size_t at, unsigned char byte) {
    out.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte)).flush();
  };
  for (std::size_t i = index_end; i < bytes.size(); ++i) {
    put(i, static_cast<unsigned char>(bytes[i] ^ 1 << (i % 8)));
    const char flipped = i < pack.entries()[1].offset ? 'a' : 'b';
    ASSERT_FALSE(pack.lookup(key_of(flipped), std::nullopt)) << i;
    put(i, bytes[i]);
  }
  EXPECT_TRUE(pack.lookup(key_of('a'), std::nullopt));
  EXPECT_TRUE(pack.lookup(key_of('b'), std::nullopt));
}

TEST_F(PackTest, IsRefusedWithASentenceThatSaysWhy) {
  write(file(), Bytes(200, 'x'));
  EXPECT_EQ(refusal(file()),
            file().string() +
                " cannot be used as a pack: it does not start like a pack; sale cache pack makes it anew");
  EXPECT_EQ(refusal(folder() / "none"), (folder() / "none").string() + " cannot be used: No such file or directory");
  EXPECT_EQ(refusal(folder()), folder().string() + " cannot be used: it is not a regular file");
  ASSERT_EQ(::mkfifo((folder() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal(folder() / "pipe"), (folder() / "pipe").string() + " cannot be used: it is not a regular file");
}

TEST_F(PackTest, IsRefusedWhenOthersMayWriteIntoIt) {
  write_sample();
  fs::permissions(file(), fs::perms::group_write, fs::perm_options::add);
  EXPECT_EQ(refusal(file()),
            file().string() + " cannot be used: others may write into it (chmod go-w makes it usable)");
}

TEST_F(PackTest, IsRefusedWhenItBelongsToSomebodyElse) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can give files away";
  }
  write_sample();
  ASSERT_EQ(::chown(file().c_str(), 12345, 12345), 0);
  EXPECT_EQ(refusal(file()),
            file().string() + " cannot be used: it belongs to user 12345, not to user 0 who runs this");
}

TEST_F(PackTest, MayBeReachedThroughALink) {
  write_sample();
  fs::create_symlink(file(), folder() / "link");
  EXPECT_EQ(Pack::open(folder() / "link").entries().size(), 3U);
}

TEST_F(PackTest, MissesWhenCutShortWhileItIsOpen) {
  write_sample();
  const Pack pack = open();
  fs::resize_file(file(), pack.entries()[1].offset + 10);
  EXPECT_TRUE(pack.lookup(key_of('a'), std::nullopt));
  EXPECT_FALSE(pack.lookup(key_of('b'), std::nullopt));
  EXPECT_FALSE(pack.lookup(key_of('c'), std::nullopt));
  EXPECT_EQ(pack.errors(), 2U);
}

TEST_F(PackTest, KeepsServingTheFileThatWasOpenedWhenAnotherTakesItsPlace) {
  write_sample();
  const Pack pack = open();
  write_sample({entry_of('d')});
  EXPECT_TRUE(pack.lookup(key_of('a'), std::nullopt));
  EXPECT_TRUE(open().lookup(key_of('d'), std::nullopt));
}

TEST_F(PackTest, ServesSeveralThreads) {
  write_sample();
  const Pack pack = open();
  std::atomic<int> found = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        const auto key = static_cast<char>('a' + i % 3);
        const auto entry = pack.lookup(key_of(key), std::nullopt);
        found += entry && entry->key == key_of(key) ? 1 : 0;
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  EXPECT_EQ(found, 400);
}

TEST_F(PackTest, IsReadableByOthersButNotWritableWhateverTheUmask) {
  const mode_t before = ::umask(0);
  write_sample();
  ::umask(before);
  EXPECT_EQ(fs::status(file()).permissions(), fs::perms{0644});
}

TEST_F(PackTest, IsWrittenWholeOrNotAtAll) {
  write_sample();
  const Bytes before = contents(file());
  Entry unfit = entry_of('a');
  unfit.spec = "\x1b[2J";
  EXPECT_THROW(write_sample({unfit}), Error);
  unfit = entry_of('a');
  unfit.key = "../../etc";
  EXPECT_THROW(write_sample({unfit}), Error);
  EXPECT_EQ(contents(file()), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder()), {}), 1);
  EXPECT_THROW(write_pack(folder() / "none" / "x.pack", {}, maker), Error);
}

TEST_F(PackTest, TakesThePlaceOfRegularFilesOnly) {
  fs::create_symlink("/dev/null", file());
  EXPECT_THROW(write_sample(), Error);
  EXPECT_TRUE(fs::is_symlink(file()));
}

TEST(PackIndex, SurvivesForgedBytesWithValidChecksums) {
  TemporaryFolder folder;
  const fs::path file = folder.path() / "x.pack";
  write_pack(file, std::vector{entry_of('a'), entry_of('b')}, maker);
  const Bytes bytes = contents(file);
  const std::size_t index_end = Pack::open(file).entries()[0].offset;
  for (std::size_t at = 8; at < index_end; ++at) {
    for (const unsigned char value : std::initializer_list<unsigned char>{0x00, 0x01, 0x31, 0x7f, 0xff}) {
      Bytes forged(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(index_end));
      forged[at] = value;
      const ParsedPackIndex parsed = parse_pack_index(with_checksum(forged, index_end), bytes.size());
      ASSERT_NE(parsed.index.has_value(), !parsed.problem.empty());
      if (parsed.index) {
        ASSERT_EQ(parsed.index->facts.bytes, bytes.size());
        ASSERT_EQ(parsed.index->entries.size(), 2U);
      }
    }
  }
}

TEST(PackIndex, NeverAllocatesWhatAForgedSizeClaims) {
  PackIndex index;
  Bytes start = serialize(index);
  start[15] = 0xff;
  EXPECT_EQ(read_pack_preamble(start).problem, "it states an index larger than any pack has");
  EXPECT_EQ(parse_pack_index(start, start.size()).problem, "it states an index larger than any pack has");
}

TEST(PackIndex, IsRefusedOutOfOrder) {
  PackIndex index;
  for (const char key : {'b', 'a'}) {
    PackEntryInfo info;
    info.key = key_of(key);
    info.bytes = 100;
    index.entries.push_back(info);
  }
  EXPECT_THROW(serialize(index), Error);
  index.entries[0].key = index.entries[1].key;
  EXPECT_THROW(serialize(index), Error);
}

TEST(PackIndex, IsRefusedByItsSchema) {
  PackIndex index;
  Bytes start = serialize(index);
  start[8] = 9;
  EXPECT_EQ(parse_pack_index(start, start.size()).problem, "its schema is 9, this library's is 1");
}

} // namespace
} // namespace sale
