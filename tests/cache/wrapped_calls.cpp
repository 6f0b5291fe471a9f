// SPDX-License-Identifier: Apache-2.0
#include "tests/cache/wrapped_calls.hpp"

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <sstream>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sale {

namespace {

struct Plan {
  const CallFault *fault = nullptr;
  int calls = 0;
  bool happened = false;
  int paused = 0;
};

thread_local Plan plan;

bool is_due(std::string_view call) {
  const CallFault *fault = plan.fault;
  if (fault == nullptr || plan.paused > 0 || !(fault->call.empty() || fault->call == call)) {
    return false;
  }
  ++plan.calls;
  const bool due = fault->from_then ? plan.calls >= fault->occurrence : plan.calls == fault->occurrence;
  plan.happened = plan.happened || due;
  return due;
}

// Whether the call fails; errno says how.
bool fails(std::string_view call) {
  if (!is_due(call)) {
    return false;
  }
  errno = plan.fault->error;
  return true;
}

// Bytes to transfer; below 0: the call fails, and errno says how.
ssize_t allowed(std::string_view call, std::size_t size) {
  if (!is_due(call)) {
    return static_cast<ssize_t>(size);
  }
  if (plan.fault->is_short) {
    return static_cast<ssize_t>((size + 1) / 2);
  }
  errno = plan.fault->error;
  return -1;
}

} // namespace

InjectedFault::InjectedFault(const CallFault &fault) { plan = {&fault, 0, false, 0}; }
InjectedFault::~InjectedFault() { plan = {}; }
bool InjectedFault::happened() const { return plan.happened; }

FaultsPaused::FaultsPaused() { ++plan.paused; }
FaultsPaused::~FaultsPaused() { --plan.paused; }

std::vector<std::string> wrapped_calls() {
  std::vector<std::string> calls;
  std::istringstream names(SALE_WRAPPED_CALLS);
  for (std::string name; std::getline(names, name, ',');) {
    calls.push_back(name);
  }
  return calls;
}

} // namespace sale

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
using sale::allowed;
using sale::fails;

extern "C" {

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
  if (fails("open")) {
    return -1;
  }
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return __real_open(path, flags, mode);
}

int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...) {
  if (fails("openat")) {
    return -1;
  }
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return __real_openat(folder, path, flags, mode);
}

// Nothing stays open because its closing failed.
int __real_close(int file);
int __wrap_close(int file) {
  const int result = __real_close(file);
  return fails("close") ? -1 : result;
}

int __real_closedir(DIR *folder);
int __wrap_closedir(DIR *folder) {
  const int result = __real_closedir(folder);
  return fails("closedir") ? -1 : result;
}

DIR *__real_fdopendir(int folder);
DIR *__wrap_fdopendir(int folder) { return fails("fdopendir") ? nullptr : __real_fdopendir(folder); }

dirent *__real_readdir(DIR *folder);
dirent *__wrap_readdir(DIR *folder) { return fails("readdir") ? nullptr : __real_readdir(folder); }

int __wrap_fsync(int /*file*/) { return fails("fsync") ? -1 : 0; }

#define SALE_FAULTY_CALL(name, parameters, arguments)                                                                  \
  int __real_##name parameters;                                                                                        \
  int __wrap_##name parameters { return fails(#name) ? -1 : __real_##name arguments; }

#define SALE_FAULTY_TRANSFER(name, parameters, arguments)                                                              \
  ssize_t __real_##name parameters;                                                                                    \
  ssize_t __wrap_##name parameters {                                                                                   \
    const ssize_t bytes = allowed(#name, size);                                                                        \
    if (bytes < 0) {                                                                                                   \
      return -1;                                                                                                       \
    }                                                                                                                  \
    size = static_cast<std::size_t>(bytes);                                                                            \
    return __real_##name arguments;                                                                                    \
  }

SALE_FAULTY_TRANSFER(read, (int file, void *to, std::size_t size), (file, to, size))
SALE_FAULTY_TRANSFER(pread, (int file, void *to, std::size_t size, off_t at), (file, to, size, at))
SALE_FAULTY_TRANSFER(write, (int file, const void *from, std::size_t size), (file, from, size))
SALE_FAULTY_TRANSFER(pwrite, (int file, const void *from, std::size_t size, off_t at), (file, from, size, at))
SALE_FAULTY_CALL(fstat, (int file, struct stat *info), (file, info))
SALE_FAULTY_CALL(fstatat, (int folder, const char *path, struct stat *info, int flags), (folder, path, info, flags))
SALE_FAULTY_CALL(lstat, (const char *path, struct stat *info), (path, info))
SALE_FAULTY_CALL(fchmod, (int file, mode_t mode), (file, mode))
SALE_FAULTY_CALL(fchmodat, (int folder, const char *path, mode_t mode, int flags), (folder, path, mode, flags))
SALE_FAULTY_CALL(ftruncate, (int file, off_t size), (file, size))
SALE_FAULTY_CALL(futimens, (int file, const timespec *times), (file, times))
SALE_FAULTY_CALL(utimensat, (int folder, const char *path, const timespec *times, int flags),
                 (folder, path, times, flags))
SALE_FAULTY_CALL(flock, (int file, int operation), (file, operation))
SALE_FAULTY_CALL(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode))
SALE_FAULTY_CALL(rename, (const char *from, const char *to), (from, to))
SALE_FAULTY_CALL(renameat, (int from_folder, const char *from, int to_folder, const char *to),
                 (from_folder, from, to_folder, to))
SALE_FAULTY_CALL(unlink, (const char *path), (path))
SALE_FAULTY_CALL(unlinkat, (int folder, const char *path, int flags), (folder, path, flags))

#undef SALE_FAULTY_CALL
#undef SALE_FAULTY_TRANSFER

} // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
