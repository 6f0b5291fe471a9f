// SPDX-License-Identifier: Apache-2.0
// Where the user's cache is, and its folders: made private, opened once and checked while open, so that what was
// checked is what is used.
#pragma once

#include "cache/descriptor.hpp"
#include "cache/file.hpp"

#include <filesystem>
#include <functional>
#include <string_view>

namespace sale {

/// SALE_CACHE_DIR, else XDG_CACHE_HOME/sale, else ~/.cache/sale; empty when the environment names none of them.
std::filesystem::path default_cache_dir();

struct OpenedFolder {
  FileStatus status = FileStatus::failed;
  Descriptor folder; ///< To name files by; reading the names in it takes for_each_name.
  Failure failure;
};

enum class IfAbsent { leave, make };

/// A folder and, if they are to be made, its parents. A symbolic link in its place must be root's or our own.
OpenedFolder open_folder(const std::filesystem::path &path, Keeper keeper, IfAbsent if_absent);
/// A folder in an opened one. Never follows a symbolic link.
OpenedFolder open_folder_at(int parent, const char *name, Keeper keeper, IfAbsent if_absent);

/// Calls `visit` with the name of everything in the folder, in any order.
Failure for_each_name(int folder, const std::function<void(std::string_view)> &visit);

} // namespace sale
