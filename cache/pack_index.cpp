// SPDX-License-Identifier: Apache-2.0
#include "cache/pack_index.hpp"

#include "cache/fields.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace sale {

namespace {

// magic[8] schema:u32 index_bytes:u32 file_bytes:u64 checksum[32], little-endian, then index and entries. The checksum
// covers preamble and index but itself; the index has the digests of the entries.
constexpr std::array<unsigned char, 8> magic = {'S', 'A', 'L', 'E', 'P', 'C', 'K', '\n'};
constexpr std::size_t checksum_offset = 24;
constexpr std::size_t max_text_bytes = 1024;

Digest checksum(std::span<const unsigned char> start) {
  Sha256 hash;
  hash.update(start.data(), checksum_offset);
  hash.update(start.data() + pack_preamble_bytes, start.size() - pack_preamble_bytes);
  return hash.finish();
}

bool all_of(std::string_view text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == std::string_view::npos;
}

// What is shown to people must not steer their terminals.
bool is_printable(std::string_view text) {
  return text.size() <= max_text_bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

bool is_digest(std::string_view text) { return text.size() == 64 && all_of(text, "0123456789abcdef"); }

int hex_value(char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; }

Digest from_hex(std::string_view text) {
  Digest digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<unsigned char>(hex_value(text[2 * i]) * 16 + hex_value(text[2 * i + 1]));
  }
  return digest;
}

bool is_sound(const PackFacts &facts) { return is_printable(facts.library_version) && is_printable(facts.templates); }

bool is_sound(const PackEntryInfo &entry) {
  return is_digest(entry.key) && (entry.kind == BinaryKind::cubin || entry.kind == BinaryKind::ptx) &&
         is_printable(entry.target) && is_printable(entry.compiler.version) && is_printable(entry.compiler.build) &&
         is_printable(entry.spec) && entry.bytes >= min_entry_bytes && entry.bytes <= max_entry_bytes;
}

std::string fields_of(const PackIndex &index) {
  FieldWriter fields;
  fields.field("library_version", index.facts.library_version);
  fields.field("templates", index.facts.templates);
  fields.field("entry_schema", std::to_string(entry_schema));
  fields.field("entries", std::to_string(index.entries.size()));
  for (const PackEntryInfo &entry : index.entries) {
    fields.field("key", entry.key);
    fields.field("kind", to_string(entry.kind));
    fields.field("target", entry.target);
    fields.field("compiler_version", entry.compiler.version);
    fields.field("compiler_build", entry.compiler.build);
    fields.field("spec", entry.spec);
    fields.field("bytes", std::to_string(entry.bytes));
    fields.field("sha256", to_hex(entry.digest));
  }
  return fields.take();
}

std::optional<PackEntryInfo> read_entry(FieldReader &fields) {
  PackEntryInfo entry;
  entry.key = fields.field("key");
  const std::string kind = fields.field("kind");
  entry.kind = kind == "ptx" ? BinaryKind::ptx : BinaryKind::cubin;
  entry.target = fields.field("target");
  entry.compiler.version = fields.field("compiler_version");
  entry.compiler.build = fields.field("compiler_build");
  entry.spec = fields.field("spec");
  entry.bytes = fields.number("bytes", UINT64_MAX);
  const std::string digest = fields.field("sha256");
  const bool good = fields.good() && kind == to_string(entry.kind) && is_digest(digest) && is_sound(entry);
  if (!good) {
    return std::nullopt;
  }
  entry.digest = from_hex(digest);
  return entry;
}

// Everything that follows from the list of entries and the size of what comes before them.
void fill_in(PackIndex &index, std::uint64_t start_bytes) {
  PackFacts &facts = index.facts;
  std::uint64_t offset = start_bytes;
  for (PackEntryInfo &entry : index.entries) {
    entry.offset = offset;
    offset += entry.bytes;
    facts.compiler_versions.push_back(entry.compiler.version);
    facts.targets.push_back(entry.target);
  }
  const auto once = [](std::vector<std::string> &texts, auto less) {
    std::sort(texts.begin(), texts.end(), less);
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  };
  once(facts.compiler_versions, [](const std::string &a, const std::string &b) { return is_newer({b, {}}, {a, {}}); });
  once(facts.targets, std::less<>());
  facts.entries = index.entries.size();
  facts.bytes = offset;
}

bool in_order(const std::vector<PackEntryInfo> &entries) {
  return std::adjacent_find(entries.begin(), entries.end(), [](const PackEntryInfo &a, const PackEntryInfo &b) {
           return !comes_before(a, b);
         }) == entries.end();
}

} // namespace

bool comes_before(const PackEntryInfo &a, const PackEntryInfo &b) {
  return a.key != b.key ? a.key < b.key : is_newer(a.compiler, b.compiler);
}

std::vector<unsigned char> serialize(PackIndex &index) {
  if (!in_order(index.entries)) {
    throw Error(ErrorKind::cache, "the entries of a pack are not in order, each once");
  }
  for (const PackEntryInfo &entry : index.entries) {
    if (!is_sound(entry)) {
      throw Error(ErrorKind::cache,
                  fmt::format("the kernel {} cannot be in a pack: its header is not a kernel's", entry.key));
    }
  }
  if (!is_sound(index.facts)) {
    throw Error(ErrorKind::cache, "the facts of a pack are not printable text");
  }
  const std::string fields = fields_of(index);
  if (fields.size() > max_pack_index_bytes) {
    throw Error(ErrorKind::cache, fmt::format("{} kernels are more than one pack can hold", index.entries.size()),
                {.advice = "make several packs, e.g. one for each architecture"});
  }
  std::vector<unsigned char> start(pack_preamble_bytes + fields.size());
  fill_in(index, start.size());
  std::copy(magic.begin(), magic.end(), start.begin());
  write_number(start.data() + 8, pack_schema, 4);
  write_number(start.data() + 12, fields.size(), 4);
  write_number(start.data() + 16, index.facts.bytes, 8);
  std::copy(fields.begin(), fields.end(), start.begin() + pack_preamble_bytes);
  const Digest digest = checksum(start);
  std::copy(digest.begin(), digest.end(), start.begin() + checksum_offset);
  return start;
}

PackStart read_pack_preamble(std::span<const unsigned char> preamble) {
  if (preamble.size() < pack_preamble_bytes) {
    return {0, "it is shorter than a pack's preamble"};
  }
  if (!std::equal(magic.begin(), magic.end(), preamble.begin())) {
    return {0, "it does not start like a pack"};
  }
  const std::uint64_t schema = read_number(preamble.subspan(8, 4));
  if (schema != pack_schema) {
    return {0, fmt::format("its schema is {}, this library's is {}", schema, pack_schema)};
  }
  const std::uint64_t index_bytes = read_number(preamble.subspan(12, 4));
  if (index_bytes > max_pack_index_bytes) {
    return {0, "it states an index larger than any pack has"};
  }
  return {pack_preamble_bytes + static_cast<std::size_t>(index_bytes), {}};
}

ParsedPackIndex parse_pack_index(std::span<const unsigned char> start, std::uint64_t file_bytes) {
  const auto bad = [](std::string problem) { return ParsedPackIndex{std::nullopt, std::move(problem)}; };
  const PackStart expected = read_pack_preamble(start);
  if (!expected.problem.empty()) {
    return bad(expected.problem);
  }
  const std::uint64_t stated_bytes = read_number(start.subspan(16, 8));
  if (stated_bytes != file_bytes || start.size() != expected.bytes) {
    return bad(fmt::format("it has {} bytes where its preamble states {}", file_bytes, stated_bytes));
  }
  const Digest digest = checksum(start);
  if (!std::equal(digest.begin(), digest.end(), start.begin() + checksum_offset)) {
    return bad("the checksum of its index does not match");
  }

  FieldReader fields(start.subspan(pack_preamble_bytes));
  PackIndex index;
  index.facts.library_version = fields.field("library_version");
  index.facts.templates = fields.field("templates");
  const std::uint64_t schema = fields.number("entry_schema", UINT32_MAX);
  const std::uint64_t count = fields.number("entries", max_pack_index_bytes);
  if (!fields.good() || !is_sound(index.facts)) {
    return bad("its index is malformed");
  }
  if (schema != entry_schema) {
    return bad(fmt::format("its kernels have schema {}, this library's have {}", schema, entry_schema));
  }
  // Grows as entries are found: the count is only a claim.
  for (std::uint64_t i = 0; i < count; ++i) {
    std::optional<PackEntryInfo> entry = read_entry(fields);
    if (!entry) {
      return bad(fmt::format("entry {} of its index is malformed", i + 1));
    }
    index.entries.push_back(std::move(*entry));
  }
  if (!fields.at_end() || !in_order(index.entries)) {
    return bad("its index is malformed");
  }
  fill_in(index, start.size());
  if (index.facts.bytes != file_bytes) {
    return bad(fmt::format("it has {} bytes where its index needs {}", file_bytes, index.facts.bytes));
  }
  return {std::move(index), {}};
}

} // namespace sale
