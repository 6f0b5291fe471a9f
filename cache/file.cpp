// SPDX-License-Identifier: Apache-2.0
#include "cache/file.hpp"

#include "cache/descriptor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sale {

namespace {

constexpr std::int64_t second = 1'000'000'000;

FileContents unread(Failure failure) { return {FileStatus::failed, {}, std::move(failure.text), failure.code, {}}; }

Failure write_all(int descriptor, std::span<const unsigned char> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = without_interruption([&] { return ::write(descriptor, bytes.data(), bytes.size()); });
    if (written <= 0) {
      return failure_of("write", written < 0 ? errno : ENOSPC);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

std::array<timespec, 2> times_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {now, now};
}

// A new file that nobody else has opened; gone again unless it was renamed.
class Temporary {
public:
  explicit Temporary(int folder) : folder_(folder) {
    // Several processes of several machines may write here: the name is a guess, O_EXCL the judge.
    constexpr int guesses = 16;
    static std::atomic<unsigned> count{0};
    for (int guess = 0; guess < guesses; ++guess) {
      name_ = fmt::format("{}{:x}-{:x}-{:x}", temporary_prefix, ::getpid(), stamp_now(), ++count);
      file_ = Descriptor(without_interruption([&] {
        return ::openat(folder_, name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
      }));
      if (file_ || errno != EEXIST) {
        break;
      }
    }
    if (!file_) {
      failure_ = failure_of("open", errno);
      return;
    }
    // The umask may have taken the owner's rights as well. Where a file system has no modes, this fails harmlessly.
    without_interruption([&] { return ::fchmod(file_.get(), 0600); });
  }

  ~Temporary() {
    if (file_) {
      without_interruption([&] { return ::unlinkat(folder_, name_.c_str(), 0); });
    }
  }

  Temporary(const Temporary &) = delete;
  Temporary &operator=(const Temporary &) = delete;

  const Failure &failure() const { return failure_; }

  Failure fill(std::span<const unsigned char> bytes) {
    if (Failure failure = write_all(file_.get(), bytes)) {
      return failure;
    }
    // Stamps are compared with each other: all come from clocks of clients, none from a file server's.
    const auto times = times_now();
    without_interruption([&] { return ::futimens(file_.get(), times.data()); });
    if (without_interruption([&] { return ::fsync(file_.get()); }) != 0) {
      return failure_of("fsync", errno);
    }
    return {};
  }

  Failure rename_to(const std::string &name) {
    if (without_interruption([&] { return ::renameat(folder_, name_.c_str(), folder_, name.c_str()); }) != 0) {
      return failure_of("rename", errno);
    }
    file_ = {};
    return {};
  }

private:
  int folder_;
  std::string name_;
  Descriptor file_;
  Failure failure_;
};

template <class Condition>
Removal remove_if(int folder, const std::string &name, const Condition &condition) {
  struct stat info{};
  if (without_interruption([&] { return ::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW); }) != 0) {
    return {false, 0, errno == ENOENT ? Failure() : failure_of("stat", errno)};
  }
  const FileFacts facts = facts_of(info);
  if (!condition(facts)) {
    return {};
  }
  if (without_interruption([&] { return ::unlinkat(folder, name.c_str(), 0); }) != 0) {
    return {false, 0, errno == ENOENT ? Failure() : failure_of("unlink", errno)};
  }
  return {true, facts.bytes, {}};
}

} // namespace

Failure failure_of(const char *call, int code) {
  return {code, fmt::format("{}: {}", call, std::generic_category().message(code))};
}

FileFacts facts_of(const struct stat &info) {
  constexpr std::int64_t last = std::int64_t{9} * second; // In seconds; with nanoseconds it still is an int64_t.
  const std::int64_t seconds = std::clamp<std::int64_t>(info.st_mtim.tv_sec, 0, last);
  return {info.st_ino, static_cast<std::uint64_t>(info.st_size), seconds * second + info.st_mtim.tv_nsec};
}

FileStatus look_at(int folder, const std::string &name, FileFacts &facts, Failure &failure) {
  struct stat info{};
  if (without_interruption([&] { return ::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW); }) != 0) {
    if (errno == ENOENT) {
      return FileStatus::absent;
    }
    failure = failure_of("stat", errno);
    return FileStatus::failed;
  }
  facts = facts_of(info);
  return S_ISREG(info.st_mode) ? FileStatus::ok : FileStatus::absent;
}

std::int64_t stamp_now() {
  const timespec now = times_now()[0];
  return static_cast<std::int64_t>(now.tv_sec) * second + now.tv_nsec;
}

FileContents read_file(const std::filesystem::path &path, std::size_t max_bytes) {
  return read_file_at(AT_FDCWD, path.string(), max_bytes, Keeper::anybody);
}

FileContents read_file_at(int folder, const std::string &name, std::size_t max_bytes, Keeper keeper) {
  // O_NONBLOCK: a named pipe in the file's place must not hang the caller.
  const Descriptor file(without_interruption(
      [&] { return ::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }));
  if (!file) {
    const int code = errno;
    FileContents none = unread(code == ELOOP ? Failure{code, "it is a symbolic link"} : failure_of("open", code));
    none.status = code == ENOENT || code == ENOTDIR ? FileStatus::absent : FileStatus::failed;
    return none;
  }
  struct stat info{};
  if (without_interruption([&] { return ::fstat(file.get(), &info); }) != 0) {
    return unread(failure_of("fstat", errno));
  }
  if (!S_ISREG(info.st_mode)) {
    return unread({0, "it is not a regular file"});
  }
  if (std::string reason = distrust(info, keeper); !reason.empty()) {
    return unread({0, std::move(reason)});
  }
  FileContents contents;
  contents.facts = facts_of(info);
  if (contents.facts.bytes > max_bytes) {
    contents.problem = fmt::format("its {} bytes are more than the {} allowed", info.st_size, max_bytes);
    return contents;
  }
  contents.bytes.resize(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < contents.bytes.size()) {
    const ssize_t got = without_interruption(
        [&] { return ::read(file.get(), contents.bytes.data() + done, contents.bytes.size() - done); });
    if (got < 0) {
      return unread(failure_of("read", errno));
    }
    if (got == 0) {
      break;
    }
    done += static_cast<std::size_t>(got);
  }
  contents.bytes.resize(done);
  contents.status = FileStatus::ok;
  return contents;
}

Failure write_file_at(int folder, const std::string &name, std::span<const unsigned char> bytes) {
  Temporary temporary(folder);
  Failure failure = temporary.failure();
  if (!failure) {
    failure = temporary.fill(bytes);
  }
  return failure ? failure : temporary.rename_to(name);
}

std::optional<std::string> write_file_atomically(const std::filesystem::path &path,
                                                 std::span<const unsigned char> bytes) {
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  const Descriptor folder(
      without_interruption([&] { return ::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); }));
  const Failure failure =
      folder ? write_file_at(folder.get(), path.filename().string(), bytes) : failure_of("open", errno);
  return failure ? std::optional(failure.text) : std::nullopt;
}

Failure try_to_write_in(int folder) { return Temporary(folder).failure(); }

void stamp_file(int folder, const std::string &name) {
  const auto times = times_now();
  without_interruption([&] { return ::utimensat(folder, name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW); });
}

Removal remove_file_at(int folder, const std::string &name) {
  return remove_if(folder, name, [](const FileFacts &) { return true; });
}

Removal remove_unchanged(int folder, const std::string &name, const FileFacts &facts) {
  return remove_if(folder, name,
                   [&](const FileFacts &now) { return now.inode == facts.inode && now.stamp == facts.stamp; });
}

} // namespace sale
