// SPDX-License-Identifier: Apache-2.0
// The cache on disk: one file per kernel and compiler build below one folder. lookup and publish never throw: a corrupt
// file is a miss, a disk error a warning, both are counted.
#pragma once

#include "cache/compiler_id.hpp"
#include "cache/entry.hpp"

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sale {

struct StoreOptions {
  std::filesystem::path root;
  /// False: somebody else keeps it, as a system's folder. Nothing there is written, cleaned or repaired.
  bool writable = true;
};

struct StoreCounters {
  std::size_t hits = 0;
  std::size_t misses = 0;
  std::size_t corrupt = 0; ///< Files found damaged, and removed where writable; each also is a miss.
  std::size_t published = 0;
  std::size_t errors = 0; ///< Disk errors.
};

/// One file of the store, as the `sale cache` commands show it.
struct StoredFile {
  std::filesystem::path path;
  std::size_t bytes = 0;
  std::optional<Entry> entry; ///< Without its binary.
  std::string problem;        ///< Why there is no entry.
};

struct Cleared {
  std::size_t files = 0;
  std::size_t bytes = 0;
  std::size_t failed = 0; ///< Files that could not be removed, each with a warning.
};

class Store {
public:
  using Warning = std::function<void(const std::string &)>;

  /// Touches nothing on disk yet.
  Store(StoreOptions options, Warning warning);

  /// The entry that `compiler` made for this key; with no compiler, the newest of any compiler.
  std::optional<Entry> lookup(const std::string &key, const std::optional<CompilerId> &compiler) const;
  void publish(const Entry &entry) const;

  /// The file that processes lock to agree who compiles; its folder is made here if it can be.
  std::filesystem::path lock_path(const std::string &key, const CompilerId &compiler) const;

  /// Creates the folder that publish writes into; the problem if that folder takes no files.
  std::optional<std::string> make_folder() const;

  /// False when there is nothing at the folder yet. This and the two below throw Error(cache) when what is there is no
  /// folder or cannot be read.
  bool exists() const;
  /// Every kernel file, checked, in order of name.
  std::vector<StoredFile> list() const;
  /// Removes every kernel file and leftover temporary file, nothing else.
  Cleared clear() const;

  const std::filesystem::path &root() const { return options_.root; }
  StoreCounters counters() const;

private:
  std::filesystem::path folder() const { return options_.root / "kernels"; }
  std::filesystem::path path_of(const std::string &key, const CompilerId &compiler) const;
  std::vector<std::filesystem::path> newest_first(const std::string &key) const;
  std::optional<Entry> read(const std::filesystem::path &path, const std::string &key,
                            const std::optional<CompilerId> &compiler) const;
  bool trusted() const;
  void disk_error(const std::string &sentence) const;

  StoreOptions options_;
  Warning warning_;
  struct Counts {
    std::atomic<std::size_t> hits{0}, misses{0}, corrupt{0}, published{0}, errors{0};
  };
  mutable Counts counts_;
  mutable std::atomic<bool> refused_{false}; ///< One warning for a folder that cannot be used, not one per kernel.
};

} // namespace sale
