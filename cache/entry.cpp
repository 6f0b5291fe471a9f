// SPDX-License-Identifier: Apache-2.0
#include "cache/entry.hpp"

#include "cache/fields.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

namespace sale {

namespace {

// magic[8] schema:u32 header_bytes:u32 binary_bytes:u64 checksum[32], little-endian, then header and binary. The
// checksum covers everything but itself.
constexpr std::array<unsigned char, 8> magic = {'S', 'A', 'L', 'E', 'K', 'R', 'N', '\n'};
constexpr std::size_t checksum_offset = 24;
constexpr std::size_t preamble_bytes = checksum_offset + sizeof(Digest);

// Registers and bytes of a kernel.
constexpr std::uint64_t largest_number = 999'999'999;

Digest checksum(std::span<const unsigned char> file) {
  Sha256 hash;
  hash.update(file.data(), checksum_offset);
  hash.update(file.data() + preamble_bytes, file.size() - preamble_bytes);
  return hash.finish();
}

std::string header_of(const Entry &entry) {
  FieldWriter header;
  header.field("key", entry.key);
  header.field("kind", to_string(entry.kind));
  header.field("target", entry.target);
  header.field("compiler_version", entry.compiler_version);
  header.field("compiler_build", entry.compiler_build);
  header.field("spec", entry.spec);
  header.field("entry_name", entry.entry_name);
  header.field("registers", std::to_string(entry.registers));
  header.field("spill_bytes", std::to_string(entry.spill_bytes));
  header.field("static_shared_memory", std::to_string(entry.static_shared_memory));
  header.field("dynamic_shared_memory", std::to_string(entry.dynamic_shared_memory));
  return header.take();
}

bool read_header(std::span<const unsigned char> bytes, Entry &entry) {
  FieldReader header(bytes);
  entry.key = header.field("key");
  const std::string kind = header.field("kind");
  entry.kind = kind == "ptx" ? BinaryKind::ptx : BinaryKind::cubin;
  entry.target = header.field("target");
  entry.compiler_version = header.field("compiler_version");
  entry.compiler_build = header.field("compiler_build");
  entry.spec = header.field("spec");
  entry.entry_name = header.field("entry_name");
  entry.registers = static_cast<int>(header.number("registers", largest_number));
  entry.spill_bytes = static_cast<int>(header.number("spill_bytes", largest_number));
  entry.static_shared_memory = static_cast<int>(header.number("static_shared_memory", largest_number));
  entry.dynamic_shared_memory = static_cast<int>(header.number("dynamic_shared_memory", largest_number));
  return header.good() && header.at_end() && kind == to_string(entry.kind);
}

} // namespace

std::vector<unsigned char> serialize(const Entry &entry) {
  const std::string header = header_of(entry);
  if (header.size() > max_entry_header_bytes || entry.binary.size() > max_entry_binary_bytes) {
    throw Error(ErrorKind::cache,
                fmt::format("a kernel of {} bytes with a header of {} bytes does not fit a cache entry",
                            entry.binary.size(), header.size()));
  }
  std::vector<unsigned char> file(preamble_bytes + header.size() + entry.binary.size());
  std::copy(magic.begin(), magic.end(), file.begin());
  write_number(file.data() + 8, entry_schema, 4);
  write_number(file.data() + 12, header.size(), 4);
  write_number(file.data() + 16, entry.binary.size(), 8);
  std::copy(header.begin(), header.end(), file.begin() + preamble_bytes);
  std::copy(entry.binary.begin(), entry.binary.end(),
            file.begin() + static_cast<std::ptrdiff_t>(preamble_bytes + header.size()));
  const Digest digest = checksum(file);
  std::copy(digest.begin(), digest.end(), file.begin() + checksum_offset);
  return file;
}

ParsedEntry parse_entry(std::span<const unsigned char> bytes, bool are_known) {
  const auto bad = [](std::string problem) { return ParsedEntry{std::nullopt, std::move(problem)}; };
  if (bytes.size() < preamble_bytes) {
    return bad("it is shorter than a cache entry's preamble");
  }
  if (!std::equal(magic.begin(), magic.end(), bytes.begin())) {
    return bad("it does not start like a cache entry");
  }
  const std::uint64_t schema = read_number(bytes.subspan(8, 4));
  if (schema != entry_schema) {
    return bad(fmt::format("its schema is {}, this library's is {}", schema, entry_schema));
  }
  const std::uint64_t header_bytes = read_number(bytes.subspan(12, 4));
  const std::uint64_t binary_bytes = read_number(bytes.subspan(16, 8));
  if (header_bytes > max_entry_header_bytes || binary_bytes > max_entry_binary_bytes) {
    return bad("it states sizes that no cache entry has");
  }
  if (bytes.size() != preamble_bytes + header_bytes + binary_bytes) {
    return bad(fmt::format("it has {} bytes where its preamble states {}", bytes.size(),
                           preamble_bytes + header_bytes + binary_bytes));
  }
  if (!are_known) {
    const Digest digest = checksum(bytes);
    if (!std::equal(digest.begin(), digest.end(), bytes.begin() + checksum_offset)) {
      return bad("its checksum does not match its contents");
    }
  }
  Entry entry;
  if (!read_header(bytes.subspan(preamble_bytes, header_bytes), entry)) {
    return bad("its header is malformed");
  }
  const auto binary = bytes.subspan(preamble_bytes + header_bytes);
  entry.binary.assign(binary.begin(), binary.end());
  return {std::move(entry), {}};
}

} // namespace sale
