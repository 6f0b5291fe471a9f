// SPDX-License-Identifier: Apache-2.0
// One compiled kernel as one file: magic, schema, sizes, checksum, labelled header, binary. The parser takes any bytes:
// it bounds every size before it allocates and never throws for bad input.
#pragma once

#include "cache/key.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sale {

/// Changes whenever the format or the meaning of a field does; old entries then are misses.
inline constexpr std::uint32_t entry_schema = 1;
inline constexpr std::size_t max_entry_header_bytes = std::size_t{64} << 10;
inline constexpr std::size_t max_entry_binary_bytes = std::size_t{64} << 20;
/// Of a serialized entry: magic, schema, sizes and checksum come before header and binary.
inline constexpr std::size_t min_entry_bytes = 24 + sizeof(Digest);
inline constexpr std::size_t max_entry_bytes = min_entry_bytes + max_entry_header_bytes + max_entry_binary_bytes;

struct Entry {
  std::string key; ///< Echo of the lookup key.
  BinaryKind kind = BinaryKind::cubin;
  std::string target;           ///< "sm_90" or "compute_80".
  std::string compiler_version; ///< NVRTC version, "13.0".
  std::string compiler_build;   ///< What tells two builds of one version apart.
  std::string spec;             ///< The kernel in one line, for people.
  std::string entry_name;
  int registers = 0;
  int spill_bytes = 0;
  int static_shared_memory = 0;
  int dynamic_shared_memory = 0;
  std::vector<unsigned char> binary;
};

std::vector<unsigned char> serialize(const Entry &entry);

struct ParsedEntry {
  std::optional<Entry> entry;
  std::string problem; ///< Why there is no entry; empty if there is one.
};

/// `are_known`: somebody has just compared the bytes with a digest of their own, so that the checksum need not be
/// formed.
ParsedEntry parse_entry(std::span<const unsigned char> bytes, bool are_known = false);

} // namespace sale
