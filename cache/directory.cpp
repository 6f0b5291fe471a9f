// SPDX-License-Identifier: Apache-2.0
#include "cache/directory.hpp"

#include <cstdlib>

namespace sale {

std::filesystem::path default_cache_dir() {
  const auto set = [](const char *name) -> const char * {
    const char *value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : nullptr;
  };
  if (const char *own = set("SALE_CACHE_DIR")) {
    return own;
  }
  // The XDG specification: relative paths are invalid and ignored.
  if (const char *xdg = set("XDG_CACHE_HOME"); xdg != nullptr && *xdg == '/') {
    return std::filesystem::path(xdg) / "sale";
  }
  if (const char *home = set("HOME")) {
    return std::filesystem::path(home) / ".cache" / "sale";
  }
  return {};
}

} // namespace sale
