// SPDX-License-Identifier: Apache-2.0
#include "cache/layers.hpp"

#include "cache/directory.hpp"
#include "sale/error.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace sale {

namespace fs = std::filesystem;

namespace {

constexpr const char *default_system_dir = "/var/cache/sale";

std::string variable(const char *name) {
  const char *value = std::getenv(name);
  return value != nullptr ? value : "";
}

fs::path first_of(const fs::path &named, const char *name, const fs::path &otherwise) {
  if (!named.empty()) {
    return named;
  }
  const std::string value = variable(name);
  return value.empty() ? otherwise : fs::path(value);
}

std::vector<fs::path> paths_in(std::string_view list) {
  std::vector<fs::path> paths;
  while (!list.empty()) {
    const std::string_view path = list.substr(0, list.find(':'));
    if (!path.empty()) {
      paths.emplace_back(path);
    }
    list.remove_prefix(std::min(list.size(), path.size() + 1));
  }
  return paths;
}

} // namespace

LayerOptions LayerOptions::of(const Options &options) {
  LayerOptions layers;
  if (!options.use_disk_cache) {
    return layers;
  }
  layers.packs = options.cache_packs;
  layers.packs_are_named = !options.cache_packs.empty();
  if (layers.packs.empty()) {
    layers.packs = paths_in(variable("SALE_CACHE_PACKS"));
  }
  layers.pack_key = first_of(options.pack_key, "SALE_PACK_KEY", {});
  layers.system = first_of(options.system_cache_dir, "SALE_SYSTEM_CACHE_DIR", default_system_dir);
  layers.user.root = options.cache_dir.empty() ? default_cache_dir() : options.cache_dir;
  layers.user.max_bytes = options.cache_max_bytes;
  layers.user.max_files = options.cache_max_files;
  return layers;
}

Layers::Layers(LayerOptions options, Store::Warning warning)
    : options_(std::move(options)), warning_(std::move(warning)) {}

void Layers::open() const {
  if (opened_) {
    return;
  }
  const std::scoped_lock lock(mutex_);
  if (opened_) {
    return;
  }
  packs_.clear(); // of an attempt that threw
  for (const fs::path &file : options_.packs) {
    open_pack(file);
  }
  if (!options_.system.empty()) {
    system_.emplace(StoreOptions{.root = options_.system, .writable = false}, warning_);
  }
  if (!options_.user.root.empty()) {
    user_.emplace(options_.user, warning_);
  } else if (any()) {
    warning_("compiled kernels are not kept: neither SALE_CACHE_DIR, XDG_CACHE_HOME nor HOME is set");
  }
  opened_ = true;
}

void Layers::open_pack(const fs::path &file) const {
  try {
    packs_.push_back(Pack::open(file, options_.pack_key, warning_));
  } catch (const Error &error) {
    if (options_.packs_are_named) {
      throw;
    }
    ++pack_errors_;
    warning_(error.what());
  }
}

std::optional<Found> Layers::lookup(const std::string &key, const std::optional<CompilerId> &compiler) const {
  open();
  for (const Pack &pack : packs_) {
    if (auto entry = pack.lookup(key, compiler)) {
      ++pack_hits_;
      return Found{std::move(*entry), Layer::pack};
    }
  }
  if (system_) {
    if (auto entry = system_->lookup(key, compiler)) {
      return Found{std::move(*entry), Layer::system};
    }
  }
  if (user_) {
    if (auto entry = user_->lookup(key, compiler)) {
      return Found{std::move(*entry), Layer::user};
    }
  }
  return std::nullopt;
}

void Layers::publish(const Entry &entry) const {
  open();
  if (user_) {
    user_->publish(entry);
  }
}

std::optional<fs::path> Layers::lock_path(const std::string &key, const CompilerId &compiler) const {
  open();
  fs::path path = user_ ? user_->lock_path(key, compiler) : fs::path();
  return path.empty() ? std::nullopt : std::optional(std::move(path));
}

void Layers::set_history(const CacheCounters &counters) {
  if (opened_ && user_) {
    user_->set_history(counters);
  }
}

CacheCounters Layers::counters() const {
  CacheCounters counters;
  if (!opened_) {
    return counters;
  }
  counters.pack_hits = pack_hits_;
  counters.disk_errors = pack_errors_;
  for (const Pack &pack : packs_) {
    counters.disk_errors += pack.errors();
  }
  if (system_) {
    const StoreCounters of_system = system_->counters();
    counters.system_hits = of_system.hits;
    counters.disk_errors += of_system.errors;
  }
  if (user_) {
    const StoreCounters of_user = user_->counters();
    counters.user_hits = of_user.hits;
    counters.published = of_user.published;
    counters.repairs = of_user.corrupt;
    counters.evictions = of_user.evicted;
    counters.disk_errors += of_user.errors;
  }
  return counters;
}

} // namespace sale
