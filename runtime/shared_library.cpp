// SPDX-License-Identifier: Apache-2.0
#include "runtime/shared_library.hpp"

#include <dlfcn.h>
#include <link.h>

namespace sale {

SharedLibrary SharedLibrary::open(const std::filesystem::path &path) {
  SharedLibrary library;
  library.asked_ = path;
  library.handle_ = ::dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library.handle_ == nullptr) {
    const char *message = ::dlerror();
    library.problem_ = message != nullptr ? message : "unknown loader error";
  }
  return library;
}

void *SharedLibrary::symbol(const char *name) const { return ::dlsym(handle_, name); }

std::filesystem::path SharedLibrary::file() const {
  link_map *map = nullptr;
  if (handle_ != nullptr && ::dlinfo(handle_, RTLD_DI_LINKMAP, static_cast<void *>(&map)) == 0 &&
      map->l_name[0] != '\0') {
    return map->l_name;
  }
  return asked_;
}

} // namespace sale
