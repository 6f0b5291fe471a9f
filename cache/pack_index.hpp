// SPDX-License-Identifier: Apache-2.0
// The start of a pack: magic, schema, sizes, checksum, and an index that says of every entry what it is, how long it is
// and its digest. The parser takes any bytes, bounds every size and never throws for bad input.
#pragma once

#include "cache/compiler_id.hpp"
#include "cache/entry.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sale {

/// Changes whenever the format or the meaning of a field does; packs of another schema are refused.
inline constexpr std::uint32_t pack_schema = 1;
inline constexpr std::size_t pack_preamble_bytes = 24 + sizeof(Digest);
inline constexpr std::size_t max_pack_index_bytes = std::size_t{64} << 20;

struct PackEntryInfo {
  std::string key;
  BinaryKind kind = BinaryKind::cubin;
  std::string target; ///< "sm_90a" or "compute_80"
  CompilerId compiler;
  std::string spec;         ///< The kernel in one line, for people.
  std::uint64_t offset = 0; ///< In the file.
  std::uint64_t bytes = 0;  ///< Of the serialized entry.
  Digest digest{};          ///< Of the same bytes.
};

/// By key; of one key the newest compiler's first. Two of an index never are equal.
bool comes_before(const PackEntryInfo &a, const PackEntryInfo &b);

struct PackFacts {
  std::string library_version;                ///< Of what wrote the pack.
  std::string templates;                      ///< Digest of its templates.
  std::vector<std::string> compiler_versions; ///< Of the entries, each once, oldest first.
  std::vector<std::string> targets;           ///< The same, in order of name.
  std::size_t entries = 0;
  std::uint64_t bytes = 0; ///< Of the whole file.
};

struct PackIndex {
  PackFacts facts;
  std::vector<PackEntryInfo> entries; ///< In the order of comes_before, as in the file.
};

/// The first bytes of a pack whose entries follow in the same order. Fills in offsets and the facts that follow from
/// the entries. Throws Error(cache) when they are not in order, too many, or not what the parser would take.
std::vector<unsigned char> serialize(PackIndex &index);

struct PackStart {
  std::size_t bytes = 0; ///< Of preamble and index.
  std::string problem;   ///< Why this is no pack; empty if it is one.
};

/// How much to read before parse_pack_index; `preamble` is the first pack_preamble_bytes of the file, or all it has.
PackStart read_pack_preamble(std::span<const unsigned char> preamble);

struct ParsedPackIndex {
  std::optional<PackIndex> index;
  std::string problem; ///< Why there is no index; empty if there is one.
};

/// `start` is the preamble and the index, `file_bytes` the size of the whole file.
ParsedPackIndex parse_pack_index(std::span<const unsigned char> start, std::uint64_t file_bytes);

} // namespace sale
