// SPDX-License-Identifier: Apache-2.0
#include "cache/memory.hpp"

#include <utility>

namespace sale {

std::shared_ptr<const Entry> MemoryCache::find(const std::string &key) const {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second;
}

void MemoryCache::insert(std::shared_ptr<const Entry> entry) {
  const std::scoped_lock lock(mutex_);
  const std::string key = entry->key;
  entries_[key] = std::move(entry);
}

} // namespace sale
