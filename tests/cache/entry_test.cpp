// SPDX-License-Identifier: Apache-2.0
#include "cache/entry.hpp"
#include "sale/error.hpp"
#include "tests/cache/sample_entry.hpp"

#include <gtest/gtest.h>

#include <random>

namespace sale {
namespace {

std::span<const unsigned char> first(const std::vector<unsigned char> &bytes, std::size_t count) {
  return std::span(bytes).first(count);
}

// Replaces `count` bytes at `at` and puts a matching checksum in, so that the parser looks further.
std::vector<unsigned char> forged(std::vector<unsigned char> bytes, std::size_t at,
                                  std::initializer_list<unsigned char> replacement) {
  std::copy(replacement.begin(), replacement.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  Sha256 hash;
  hash.update(bytes.data(), 24);
  hash.update(bytes.data() + 56, bytes.size() - 56);
  const Digest digest = hash.finish();
  std::copy(digest.begin(), digest.end(), bytes.begin() + 24);
  return bytes;
}

TEST(CacheEntry, ComesBackAsItWasWritten) {
  const Entry entry = sample_entry();
  const ParsedEntry parsed = parse_entry(serialize(entry));
  ASSERT_TRUE(parsed.entry) << parsed.problem;
  EXPECT_EQ(parsed.entry->key, entry.key);
  EXPECT_EQ(parsed.entry->kind, entry.kind);
  EXPECT_EQ(parsed.entry->target, entry.target);
  EXPECT_EQ(parsed.entry->compiler_version, entry.compiler_version);
  EXPECT_EQ(parsed.entry->compiler_build, entry.compiler_build);
  EXPECT_EQ(parsed.entry->spec, entry.spec);
  EXPECT_EQ(parsed.entry->entry_name, entry.entry_name);
  EXPECT_EQ(parsed.entry->registers, entry.registers);
  EXPECT_EQ(parsed.entry->spill_bytes, entry.spill_bytes);
  EXPECT_EQ(parsed.entry->static_shared_memory, entry.static_shared_memory);
  EXPECT_EQ(parsed.entry->dynamic_shared_memory, entry.dynamic_shared_memory);
  EXPECT_EQ(parsed.entry->binary, entry.binary);
}

TEST(CacheEntry, KeepsAnEmptyBinaryAndThePtxKind) {
  Entry entry = sample_entry();
  entry.kind = BinaryKind::ptx;
  entry.binary.clear();
  const ParsedEntry parsed = parse_entry(serialize(entry));
  ASSERT_TRUE(parsed.entry) << parsed.problem;
  EXPECT_EQ(parsed.entry->kind, BinaryKind::ptx);
  EXPECT_TRUE(parsed.entry->binary.empty());
}

TEST(CacheEntry, IsRefusedWhenTruncatedAnywhere) {
  const std::vector<unsigned char> bytes = serialize(sample_entry());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const ParsedEntry parsed = parse_entry(first(bytes, length));
    ASSERT_FALSE(parsed.entry) << length;
    ASSERT_FALSE(parsed.problem.empty());
  }
}

TEST(CacheEntry, IsRefusedWhenAnyBitFlips) {
  std::vector<unsigned char> bytes = serialize(sample_entry());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto bit = static_cast<unsigned char>(1 << (i % 8));
    bytes[i] ^= bit;
    ASSERT_FALSE(parse_entry(bytes).entry) << i;
    bytes[i] ^= bit;
  }
}

TEST(CacheEntry, IsRefusedWithBytesAfterItsEnd) {
  std::vector<unsigned char> bytes = serialize(sample_entry());
  bytes.push_back(0);
  EXPECT_FALSE(parse_entry(bytes).entry);
}

TEST(CacheEntry, IsRefusedByItsSchemaBeforeAnythingElse) {
  const auto bytes = forged(serialize(sample_entry()), 8, {99});
  EXPECT_EQ(parse_entry(bytes).problem, "its schema is 99, this library's is 1");
}

TEST(CacheEntry, NeverAllocatesWhatAForgedSizeClaims) {
  const auto header = forged(serialize(sample_entry()), 12, {0xff, 0xff, 0xff, 0xff});
  EXPECT_EQ(parse_entry(header).problem, "it states sizes that no cache entry has");
  const auto binary = forged(serialize(sample_entry()), 16, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  EXPECT_EQ(parse_entry(binary).problem, "it states sizes that no cache entry has");
}

TEST(CacheEntry, SurvivesForgedHeadersWithValidChecksums) {
  const std::vector<unsigned char> bytes = serialize(sample_entry());
  for (std::size_t at = 56; at < bytes.size() - 300; ++at) {
    for (const unsigned char value : std::initializer_list<unsigned char>{0x00, 0x01, 0x7f, 0xff}) {
      const ParsedEntry parsed = parse_entry(forged(bytes, at, {value}));
      ASSERT_NE(parsed.entry.has_value(), !parsed.problem.empty());
    }
  }
}

TEST(CacheEntry, SurvivesRandomBytes) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::vector<unsigned char> bytes(random() % 400);
    for (unsigned char &byte : bytes) {
      byte = static_cast<unsigned char>(random());
    }
    ASSERT_FALSE(parse_entry(bytes).entry);
  }
}

TEST(CacheEntry, RefusesToBeWrittenLargerThanItCouldBeRead) {
  Entry entry = sample_entry();
  entry.spec.assign(max_entry_header_bytes, 'x');
  EXPECT_THROW(serialize(entry), Error);
}

} // namespace
} // namespace sale
