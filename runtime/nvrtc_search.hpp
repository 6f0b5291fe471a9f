// SPDX-License-Identifier: Apache-2.0
// Where NVRTC may be, in order, and which file there is usable. Looks at files only, except for loader_places.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sale {

/// The environment that the search reads; tests give their own.
struct SearchEnvironment {
  std::function<std::string(const char *)> variable; ///< Empty string = not set.
  std::filesystem::path root = "/";                  ///< Prefix of the system's own folders.
  /// The file that the loader opens for this name, e.g. by ld.so.cache; empty = none.
  std::function<std::filesystem::path(const char *)> loader;

  static SearchEnvironment of_process();
};

/// A folder or file worth looking at, and why.
struct NvrtcPlace {
  std::filesystem::path path;
  std::string why; ///< "CUDA_HOME", "pip wheel", ...
};

/// The compiler's files, found but not opened.
struct NvrtcFiles {
  std::filesystem::path library;
  std::filesystem::path builtins; ///< libnvrtc-builtins beside it, without which nothing compiles.
  std::string version;            ///< "13.0", from the builtins' file name.
  std::string build;              ///< The library's GNU build id, else its size in bytes.
  std::string why;
};

struct NvrtcSearchResult {
  std::optional<NvrtcFiles> files;
  std::vector<std::string> searched; ///< One line per place: what was there or not.
};

/// Every place in order: `requested` alone if given, else SALE_NVRTC (a file or folder) alone if set, else CUDA_HOME,
/// CUDA_PATH, LD_LIBRARY_PATH, /usr/local/cuda, the system's library folders, pip wheels, what ld.so.conf names.
std::vector<NvrtcPlace> nvrtc_places(const std::filesystem::path &requested, const SearchEnvironment &environment);

/// What the loader finds by name. Opens the library, so that it is for when nothing else was found.
std::vector<NvrtcPlace> loader_places(const SearchEnvironment &environment);

/// The first usable NVRTC 12 or 13 among the places; in one folder the newest.
NvrtcSearchResult find_nvrtc(const std::vector<NvrtcPlace> &places);

} // namespace sale
