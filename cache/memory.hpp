// SPDX-License-Identifier: Apache-2.0
// Entries already read or compiled by this process, shared between threads.
#pragma once

#include "cache/entry.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace sale {

class MemoryCache {
public:
  /// Null when absent.
  std::shared_ptr<const Entry> find(const std::string &key) const;
  void insert(std::shared_ptr<const Entry> entry);

private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const Entry>> entries_;
};

} // namespace sale
