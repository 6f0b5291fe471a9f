// SPDX-License-Identifier: Apache-2.0
// Where compiled kernels are looked for, in order: packs, the system's folder, the user's folder. Only the last is ever
// written. Opened when first asked; a layer that is not there is no error.
#pragma once

#include "cache/pack.hpp"
#include "cache/store.hpp"
#include "sale/sale.hpp"

#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sale {

enum class Layer { pack, system, user };

/// Which layers there are: what Options name, else what the environment does.
struct LayerOptions {
  std::vector<std::filesystem::path> packs;
  bool packs_are_named = false; ///< By Options: one that cannot be opened is an error, not a warning.
  std::filesystem::path pack_key;
  std::filesystem::path system; ///< Empty = none.
  StoreOptions user;            ///< Empty root = none.

  static LayerOptions of(const Options &options);
};

struct Found {
  Entry entry;
  Layer layer = Layer::user;
};

class Layers {
public:
  /// Touches nothing on disk.
  Layers(LayerOptions options, Store::Warning warning);

  /// Whether there is any to look into.
  bool any() const { return !options_.packs.empty() || !options_.system.empty() || !options_.user.root.empty(); }

  /// The first layer's entry that `compiler` made for this key; with no compiler, the newest there of any. Throws
  /// Error(cache) for a pack that Options name and that cannot be opened, for nothing else.
  std::optional<Found> lookup(const std::string &key, const std::optional<CompilerId> &compiler) const;
  /// Into the user's folder.
  void publish(const Entry &entry) const;

  /// The file that processes lock to agree who compiles; none without a user's folder.
  std::optional<std::filesystem::path> lock_path(const std::string &key, const CompilerId &compiler) const;
  const std::filesystem::path &user_root() const { return options_.user.root; }

  /// Hits by layer, and what became of files.
  CacheCounters counters() const;
  /// What the user's folder remembers when this goes: these, which contain the above.
  void set_history(const CacheCounters &counters);

private:
  void open() const;
  void open_pack(const std::filesystem::path &file) const;

  LayerOptions options_;
  Store::Warning warning_;
  mutable std::mutex mutex_; ///< Of opening. Not std::once_flag: a named pack may throw again and again.
  mutable std::atomic<bool> opened_{false};
  mutable std::vector<Pack> packs_;
  mutable std::atomic<std::uint64_t> pack_hits_{0};
  mutable std::atomic<std::uint64_t> pack_errors_{0}; ///< Packs that cannot be opened.
  mutable std::optional<Store> system_;
  mutable std::optional<Store> user_;
};

} // namespace sale
