// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/system_calls.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <functional>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

namespace sale::faults {

namespace {

std::atomic<bool> armed{false};
std::atomic<long> count{0};
CallFault planned;

enum class Fate { lives, dies, fails };

Fate next() {
  if (!armed) {
    return Fate::lives;
  }
  const long call = ++count;
  if (planned.at == 0 || !(planned.from_then ? call >= planned.at : call == planned.at)) {
    return Fate::lives;
  }
  return planned.error == 0 ? Fate::dies : Fate::fails;
}

// Whether the call is to fail; errno says how. A process dies after `half`, in the middle of the call.
bool fails(const std::function<void()> &half = {}) {
  const Fate fate = next();
  if (fate == Fate::dies) {
    if (half) {
      half();
    }
    ::raise(SIGKILL);
  }
  if (fate == Fate::fails) {
    errno = planned.error;
  }
  return fate == Fate::fails;
}

} // namespace

void arm(const CallFault &fault) {
  planned = fault;
  count = 0;
  armed = true;
}

long counted_calls() { return count; }

} // namespace sale::faults

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
using sale::faults::fails;

extern "C" {

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
  if (fails()) {
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
  if (fails()) {
    return -1;
  }
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return __real_openat(folder, path, flags, mode);
}

ssize_t __real_write(int file, const void *bytes, std::size_t size);
ssize_t __wrap_write(int file, const void *bytes, std::size_t size) {
  if (fails([&] { return __real_write(file, bytes, size / 2); })) {
    return -1;
  }
  return __real_write(file, bytes, size);
}

ssize_t __real_pwrite(int file, const void *bytes, std::size_t size, off_t offset);
ssize_t __wrap_pwrite(int file, const void *bytes, std::size_t size, off_t offset) {
  if (fails([&] { return __real_pwrite(file, bytes, size / 2, offset); })) {
    return -1;
  }
  return __real_pwrite(file, bytes, size, offset);
}

// No file stays open because its closing failed.
int __real_close(int file);
int __wrap_close(int file) {
  const bool failed = fails();
  const int error = errno;
  const int result = __real_close(file);
  errno = failed ? error : errno;
  return failed ? -1 : result;
}

#define SALE_FAULTY_CALL(result, name, parameters, arguments)                                                          \
  result __real_##name parameters;                                                                                     \
  result __wrap_##name parameters { return fails() ? -1 : __real_##name arguments; }

SALE_FAULTY_CALL(ssize_t, read, (int file, void *bytes, std::size_t size), (file, bytes, size))
SALE_FAULTY_CALL(ssize_t, pread, (int file, void *bytes, std::size_t size, off_t offset), (file, bytes, size, offset))
SALE_FAULTY_CALL(int, fsync, (int file), (file))
SALE_FAULTY_CALL(int, ftruncate, (int file, off_t size), (file, size))
SALE_FAULTY_CALL(int, flock, (int file, int operation), (file, operation))
SALE_FAULTY_CALL(int, lstat, (const char *path, struct stat *info), (path, info))
SALE_FAULTY_CALL(int, fstat, (int file, struct stat *info), (file, info))
SALE_FAULTY_CALL(int, fstatat, (int folder, const char *path, struct stat *info, int flags),
                 (folder, path, info, flags))
SALE_FAULTY_CALL(int, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode))
SALE_FAULTY_CALL(int, fchmod, (int file, mode_t mode), (file, mode))
SALE_FAULTY_CALL(int, fchmodat, (int folder, const char *path, mode_t mode, int flags), (folder, path, mode, flags))
SALE_FAULTY_CALL(int, utimensat, (int folder, const char *path, const struct timespec *times, int flags),
                 (folder, path, times, flags))
SALE_FAULTY_CALL(int, futimens, (int file, const struct timespec *times), (file, times))
SALE_FAULTY_CALL(int, rename, (const char *from, const char *to), (from, to))
SALE_FAULTY_CALL(int, renameat, (int from_folder, const char *from, int to_folder, const char *to),
                 (from_folder, from, to_folder, to))
SALE_FAULTY_CALL(int, unlink, (const char *path), (path))
SALE_FAULTY_CALL(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))

#undef SALE_FAULTY_CALL

} // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
