// SPDX-License-Identifier: Apache-2.0
#include "cache/cache_folder.hpp"

#include "cache/file_names.hpp"

#include <cerrno>
#include <utility>

namespace sale {

namespace {

namespace fs = std::filesystem;

// "a/cache/" is the folder "a/cache": after a slash, a link would be followed unseen.
fs::path without_last_slash(const fs::path &path) { return path.has_filename() ? path : path.parent_path(); }

} // namespace

CacheFolder::CacheFolder(const fs::path &root, Keeper keeper) : root_(without_last_slash(root)), keeper_(keeper) {}

fs::path CacheFolder::kernels() const { return root_ / kernels_folder; }

CacheFolder::Opened CacheFolder::open(IfAbsent if_absent) const {
  OpenedFolder root = open_folder(root_, keeper_, if_absent);
  if (!root.folder) {
    return {root.status, {}, {}, std::move(root.failure)};
  }
  OpenedFolder kernels = open_folder_at(root.folder.get(), kernels_folder, keeper_, if_absent);
  return {kernels.status, std::move(root.folder), std::move(kernels.folder), std::move(kernels.failure)};
}

CacheFolder::Opened CacheFolder::use(IfAbsent if_absent, const std::function<Failure(const Opened &)> &use) const {
  for (bool again = true;; again = false) {
    Opened opened = open(if_absent);
    if (opened.status == FileStatus::ok) {
      opened.failure = use(opened);
    }
    // ENOENT: removed here; ESTALE: removed on a file server.
    const int code = opened.failure.code;
    const bool vanished = code == ESTALE || (code == ENOENT && if_absent == IfAbsent::make);
    if (!vanished || !again) {
      return opened;
    }
  }
}

} // namespace sale
