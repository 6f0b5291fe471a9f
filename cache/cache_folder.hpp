// SPDX-License-Identifier: Apache-2.0
// The two folders that a cache is in, root and root/kernels, opened anew for every operation: a cache may be removed,
// replaced or mounted while a process runs.
#pragma once

#include "cache/directory.hpp"

#include <filesystem>
#include <functional>

namespace sale {

class CacheFolder {
public:
  CacheFolder(const std::filesystem::path &root, Keeper keeper);

  struct Opened {
    FileStatus status = FileStatus::failed;
    Descriptor root;
    Descriptor kernels;
    Failure failure; ///< Why they are not open, or what `use` then could not do.
  };

  /// Whoever replaces a folder meanwhile replaces nothing that `use` has. A folder that vanishes is opened once more,
  /// and `use` called again.
  Opened use(IfAbsent if_absent, const std::function<Failure(const Opened &)> &use) const;

  const std::filesystem::path &root() const { return root_; }
  std::filesystem::path kernels() const;
  Keeper keeper() const { return keeper_; }

private:
  Opened open(IfAbsent if_absent) const;

  std::filesystem::path root_;
  Keeper keeper_;
};

} // namespace sale
