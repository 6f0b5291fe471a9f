// SPDX-License-Identifier: Apache-2.0
// A pack: one portable read-only file of many cache entries. Opening it reads and checks its index; each entry is
// checked when it is read, by the index's digest.
#pragma once

#include "cache/pack_index.hpp"
#include "cache/shared_file.hpp"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sale {

class Pack {
public:
  using Warning = std::function<void(const std::string &)>;

  /// Throws Error(cache) when it is no pack of this library, or others than root and the effective user could have
  /// written it. With a public key (PEM), signature_path(file) must hold its ed25519 signature of the whole file.
  static Pack open(const std::filesystem::path &file, const std::filesystem::path &public_key = {},
                   Warning warning = {});

  /// The entry that `compiler` made for this key; with no compiler, the newest compiler's. Never throws for what is in
  /// the file: an entry that cannot be read or is damaged is a miss with a warning. Safe from several threads.
  std::optional<Entry> lookup(const std::string &key, const std::optional<CompilerId> &compiler) const;

  /// One of entries(), checked in every way.
  ParsedEntry read(const PackEntryInfo &info) const;

  const std::filesystem::path &path() const { return file_.path(); }
  const std::vector<PackEntryInfo> &entries() const { return index_.entries; }
  const PackFacts &facts() const { return index_.facts; }
  /// Entries that lookup found damaged or unreadable.
  std::uint64_t errors() const { return *errors_; }

private:
  Pack(SharedFile file, PackIndex index, Warning warning);
  SharedFile file_;
  PackIndex index_;
  Warning warning_;
  std::unique_ptr<std::atomic<std::uint64_t>> errors_ = std::make_unique<std::atomic<std::uint64_t>>(0);
};

/// What made a pack, for people and for `sale cache verify`.
struct PackMaker {
  std::string library_version;
  std::string templates; ///< Digest of the kernel templates.
};

/// Writes a pack, whole or not at all. Its bytes follow from its entries alone, in whatever order they come; of two
/// with the same key and compiler the first is taken. Throws Error(io) or Error(cache).
PackFacts write_pack(const std::filesystem::path &file, std::span<const Entry> entries, const PackMaker &maker);

} // namespace sale
