// SPDX-License-Identifier: Apache-2.0
#include "cache/directory.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sale {

namespace {

namespace fs = std::filesystem;

constexpr mode_t private_mode = 0700;

Failure plain_failure(int code) { return {code, std::generic_category().message(code)}; }

OpenedFolder refused(Failure failure) { return {FileStatus::failed, {}, std::move(failure)}; }

// 0 or an errno.
int make_one(int parent, const char *name) {
  if (without_interruption([&] { return ::mkdirat(parent, name, private_mode); }) != 0) {
    return errno == EEXIST ? 0 : errno;
  }
  // The umask may have taken the owner's rights as well; opening the folder tells if this failed.
  without_interruption([&] { return ::fchmodat(parent, name, private_mode, AT_SYMLINK_NOFOLLOW); });
  return 0;
}

int make_with_parents(const fs::path &path) {
  const int code = make_one(AT_FDCWD, path.c_str());
  const fs::path parent = path.parent_path();
  if (code != ENOENT || parent.empty() || parent == path) {
    return code;
  }
  const int parents = make_with_parents(parent);
  return parents != 0 ? parents : make_one(AT_FDCWD, path.c_str());
}

int open_as_folder(int parent, const char *name, int follow) {
  // O_PATH: a folder whose names may not be read still can be used by name.
  return without_interruption([&] { return ::openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC | follow); });
}

// Who may have put a link in a root's place: not whoever may write into /tmp.
Failure distrust_of_link(const char *path) {
  struct stat info{};
  if (without_interruption([&] { return ::fstatat(AT_FDCWD, path, &info, AT_SYMLINK_NOFOLLOW); }) != 0) {
    return plain_failure(errno);
  }
  if (!S_ISLNK(info.st_mode)) {
    return plain_failure(ENOTDIR);
  }
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return {0, fmt::format("it is a symbolic link of user {}", info.st_uid)};
  }
  return {};
}

OpenedFolder checked(Descriptor folder, Keeper keeper) {
  struct stat info{};
  if (without_interruption([&] { return ::fstat(folder.get(), &info); }) != 0) {
    return refused(plain_failure(errno));
  }
  if (std::string reason = distrust(info, keeper); !reason.empty()) {
    return refused({0, std::move(reason)});
  }
  return {FileStatus::ok, std::move(folder), {}};
}

OpenedFolder not_opened(int code) {
  return {code == ENOENT ? FileStatus::absent : FileStatus::failed, {}, plain_failure(code)};
}

} // namespace

fs::path default_cache_dir() {
  const auto set = [](const char *name) -> const char * {
    const char *value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : nullptr;
  };
  if (const char *own = set("SALE_CACHE_DIR")) {
    return own;
  }
  // The XDG specification: relative paths are invalid and ignored.
  if (const char *xdg = set("XDG_CACHE_HOME"); xdg != nullptr && *xdg == '/') {
    return fs::path(xdg) / "sale";
  }
  if (const char *home = set("HOME")) {
    return fs::path(home) / ".cache" / "sale";
  }
  return {};
}

OpenedFolder open_folder(const fs::path &path, Keeper keeper, IfAbsent if_absent) {
  Descriptor folder(open_as_folder(AT_FDCWD, path.c_str(), O_NOFOLLOW));
  if (!folder && errno == ENOENT && if_absent == IfAbsent::make) {
    if (const int code = make_with_parents(path); code != 0) {
      return refused(plain_failure(code));
    }
    folder = Descriptor(open_as_folder(AT_FDCWD, path.c_str(), O_NOFOLLOW));
  }
  if (!folder && (errno == ENOTDIR || errno == ELOOP)) {
    if (Failure failure = distrust_of_link(path.c_str())) {
      return refused(std::move(failure));
    }
    folder = Descriptor(open_as_folder(AT_FDCWD, path.c_str(), 0));
  }
  return folder ? checked(std::move(folder), keeper) : not_opened(errno);
}

OpenedFolder open_folder_at(int parent, const char *name, Keeper keeper, IfAbsent if_absent) {
  Descriptor folder(open_as_folder(parent, name, O_NOFOLLOW));
  if (!folder && errno == ENOENT && if_absent == IfAbsent::make) {
    if (const int code = make_one(parent, name); code != 0) {
      return refused(plain_failure(code));
    }
    folder = Descriptor(open_as_folder(parent, name, O_NOFOLLOW));
  }
  return folder ? checked(std::move(folder), keeper) : not_opened(errno);
}

Failure for_each_name(int folder, const std::function<void(std::string_view)> &visit) {
  Descriptor names(without_interruption([&] { return ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!names) {
    return plain_failure(errno);
  }
  const std::unique_ptr<DIR, int (*)(DIR *)> stream(::fdopendir(names.get()), ::closedir);
  if (stream == nullptr) {
    return plain_failure(errno);
  }
  names.release(); // The stream closes it.
  for (;;) {
    errno = 0;
    const dirent *found = ::readdir(stream.get());
    if (found != nullptr) {
      const std::string_view name = found->d_name;
      if (name != "." && name != "..") {
        visit(name);
      }
    } else if (errno != EINTR) {
      return errno == 0 ? Failure() : plain_failure(errno);
    }
  }
}

} // namespace sale
