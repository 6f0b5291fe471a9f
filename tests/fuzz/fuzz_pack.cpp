// SPDX-License-Identifier: Apache-2.0
// The parser of a pack's index on any bytes, and again with sizes and a checksum that match so that the index is
// reached. What it takes must be consistent and come back the same from its own serialization.
#include "cache/fields.hpp"
#include "cache/pack_index.hpp"

#include <algorithm>
#include <cstdlib>

namespace {

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

bool same(const sale::PackEntryInfo &a, const sale::PackEntryInfo &b) {
  return a.key == b.key && a.kind == b.kind && a.target == b.target && a.compiler == b.compiler && a.spec == b.spec &&
         a.offset == b.offset && a.bytes == b.bytes && a.digest == b.digest;
}

void check(sale::PackIndex index, std::span<const unsigned char> start, std::uint64_t file_bytes) {
  std::uint64_t offset = start.size();
  for (const sale::PackEntryInfo &entry : index.entries) {
    require(entry.offset == offset && entry.bytes <= sale::max_entry_bytes);
    require(entry.bytes <= file_bytes && offset <= file_bytes - entry.bytes);
    offset += entry.bytes;
  }
  require(offset == file_bytes && index.facts.bytes == file_bytes && index.facts.entries == index.entries.size());
  for (std::size_t i = 1; i < index.entries.size(); ++i) {
    require(comes_before(index.entries[i - 1], index.entries[i]) &&
            !comes_before(index.entries[i], index.entries[i - 1]));
  }
  const std::vector<sale::PackEntryInfo> before = index.entries;
  const std::vector<unsigned char> again = serialize(index);
  require(std::equal(again.begin(), again.end(), start.begin(), start.end()));
  require(std::equal(before.begin(), before.end(), index.entries.begin(), index.entries.end(), same));
}

void parse(std::span<const unsigned char> start, std::uint64_t file_bytes) {
  sale::ParsedPackIndex parsed = sale::parse_pack_index(start, file_bytes);
  require(parsed.index.has_value() == parsed.problem.empty());
  if (parsed.index) {
    check(std::move(*parsed.index), start, file_bytes);
  }
}

// The file that the index would be right for: entries of the sizes that its fields state.
std::uint64_t stated_bytes(std::span<const unsigned char> index) {
  std::uint64_t bytes = sale::pack_preamble_bytes + index.size();
  sale::FieldReader fields(index);
  for (const char *label : {"library_version", "templates", "entry_schema", "entries"}) {
    fields.field(label);
  }
  while (fields.good() && !fields.at_end()) {
    for (const char *label : {"key", "kind", "target", "compiler_version", "compiler_build", "spec"}) {
      fields.field(label);
    }
    bytes += fields.number("bytes", sale::max_entry_bytes);
    fields.field("sha256");
  }
  return bytes;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
  const std::span<const unsigned char> input(data, size);
  const sale::PackStart start = sale::read_pack_preamble(input);
  parse(input.first(std::min(size, std::max(start.bytes, sale::pack_preamble_bytes))), size);
  if (!start.problem.empty()) {
    return 0;
  }

  // Everything after the preamble that is read as the index; entries need not be there.
  std::vector<unsigned char> bytes(input.begin(),
                                   input.begin() + static_cast<std::ptrdiff_t>(std::min(size, start.bytes)));
  const std::uint64_t file_bytes = stated_bytes(std::span(bytes).subspan(sale::pack_preamble_bytes));
  sale::write_number(bytes.data() + 12, bytes.size() - sale::pack_preamble_bytes, 4);
  sale::write_number(bytes.data() + 16, file_bytes, 8);
  sale::Sha256 hash;
  hash.update(bytes.data(), 24);
  hash.update(bytes.data() + sale::pack_preamble_bytes, bytes.size() - sale::pack_preamble_bytes);
  const sale::Digest digest = hash.finish();
  std::copy(digest.begin(), digest.end(), bytes.begin() + 24);
  parse(bytes, file_bytes);
  return 0;
}
