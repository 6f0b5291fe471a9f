// SPDX-License-Identifier: Apache-2.0
// The cache on disk: one file per kernel and compiler build below one folder. lookup and publish never throw: a corrupt
// file is a miss, a disk error a warning, both are counted.
#pragma once

#include "cache/cache_folder.hpp"
#include "cache/compiler_id.hpp"
#include "cache/entry.hpp"
#include "cache/limits.hpp"
#include "sale/sale.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sale {

struct StoreOptions {
  std::filesystem::path root;
  /// False: somebody else keeps it, as a system's folder. Nothing there is written, cleaned, repaired or marked as
  /// used.
  bool writable = true;
  std::uint64_t max_bytes = Limits().max_bytes; ///< Of kernel files; the least recently used go first. 0 = no limit.
  std::uint64_t max_files = Limits().max_files;
};

struct StoreCounters {
  std::size_t hits = 0;
  std::size_t misses = 0;
  std::size_t corrupt = 0; ///< Files found damaged, and removed where writable; each also is a miss.
  std::size_t published = 0;
  std::size_t evicted = 0; ///< Files removed for the limits.
  std::size_t errors = 0;  ///< Disk errors.
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
  /// Adds what this store counted to the folder's history.
  ~Store();
  Store(const Store &) = delete;
  Store &operator=(const Store &) = delete;

  /// The entry that `compiler` made for this key; with no compiler, that of the newest version, and of one version the
  /// one used last.
  std::optional<Entry> lookup(const std::string &key, const std::optional<CompilerId> &compiler) const;
  /// Also evicts, where this exceeds the limits.
  void publish(const Entry &entry) const;

  /// The file that processes lock to agree who compiles; empty where its folder is not there and cannot be made.
  std::filesystem::path lock_path(const std::string &key, const CompilerId &compiler) const;

  /// Creates the folder that publish writes into; the problem if that folder takes no files.
  std::optional<std::string> make_folder() const;

  /// False when there is nothing at the folder yet. This and those below throw Error(cache) when what is there is no
  /// folder, cannot be read or belongs to others.
  bool exists() const;
  /// Every kernel file, checked, in order of name.
  std::vector<StoredFile> list() const;
  Usage usage() const;
  /// Removes every kernel file and leftover temporary file, nothing else.
  Cleared clear() const;
  /// Sweeps, and evicts where the limits are exceeded.
  Collected collect() const;

  const StoreOptions &options() const { return options_; }
  const std::filesystem::path &root() const { return folder_.root(); }
  StoreCounters counters() const;

  /// What the history gets instead of this store's own counters, which these contain.
  void set_history(const CacheCounters &counters);
  /// The sum of what everybody counted who used this folder.
  CacheCounters history() const;

private:
  Limits limits() const { return {options_.max_bytes, options_.max_files}; }
  std::vector<std::string> newest_first(int kernels, const std::string &key, Failure &failure) const;
  Failure find(int kernels, const std::string &key, const std::optional<CompilerId> &compiler,
               std::optional<Entry> &found) const;
  void repair(int kernels, const std::string &name, const FileFacts &facts, const std::string &problem) const;
  void keep_limits(std::uint64_t added_bytes) const;
  void count(const Collected &collected) const;
  void use_or_throw(const std::function<Failure(const CacheFolder::Opened &)> &use) const;
  void refuse(const std::string &sentence) const;
  void disk_error(const std::string &sentence) const;

  StoreOptions options_;
  Warning warning_;
  CacheFolder folder_;
  struct Counts {
    std::atomic<std::size_t> hits{0}, misses{0}, corrupt{0}, published{0}, evicted{0}, errors{0};
  };
  mutable Counts counts_;
  mutable std::atomic<bool> refused_{false}; ///< One warning for a folder that cannot be used, not one per kernel.
  mutable std::atomic<bool> cannot_collect_{false}; ///< The same for limits that cannot be kept.
  std::optional<CacheCounters> history_;

  mutable std::mutex growth_;
  mutable std::optional<Usage> estimate_; ///< What is in the folder: seen at the first publish, then added up.
};

} // namespace sale
