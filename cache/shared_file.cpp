// SPDX-License-Identifier: Apache-2.0
#include "cache/shared_file.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <random>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace sale {

namespace fs = std::filesystem;

namespace {

std::string error_text(int error) { return std::generic_category().message(error); }

[[noreturn]] void refuse(const fs::path &path, const std::string &reason) {
  throw Error(ErrorKind::cache, fmt::format("{} cannot be used: {}", path.string(), reason));
}

} // namespace

SharedFile::SharedFile(fs::path path, Descriptor descriptor, std::uint64_t bytes)
    : path_(std::move(path)), descriptor_(std::move(descriptor)), bytes_(bytes) {}

SharedFile SharedFile::open(const fs::path &path, Keeper keeper) {
  // O_NONBLOCK: a named pipe in the file's place must not hang the caller.
  Descriptor descriptor(
      without_interruption([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }));
  struct stat info{};
  if (!descriptor || without_interruption([&] { return ::fstat(descriptor.get(), &info); }) != 0) {
    refuse(path, error_text(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    refuse(path, "it is not a regular file");
  }
  if (const std::string problem = distrust(info, keeper); !problem.empty()) {
    refuse(path, problem);
  }
  return {path, std::move(descriptor), static_cast<std::uint64_t>(info.st_size)};
}

std::optional<std::string> SharedFile::read_at(std::uint64_t offset, std::span<unsigned char> to) const {
  while (!to.empty()) {
    const ssize_t got = without_interruption(
        [&] { return ::pread(descriptor_.get(), to.data(), to.size(), static_cast<off_t>(offset)); });
    if (got < 0) {
      return error_text(errno);
    }
    if (got == 0) {
      return "it has become shorter since it was opened";
    }
    offset += static_cast<std::uint64_t>(got);
    to = to.subspan(static_cast<std::size_t>(got));
  }
  return std::nullopt;
}

std::vector<unsigned char> SharedFile::read_start(std::size_t count) const {
  std::vector<unsigned char> contents(count);
  if (const auto problem = read_at(0, contents)) {
    refuse(path_, *problem);
  }
  return contents;
}

std::vector<unsigned char> SharedFile::read_all(std::size_t max_bytes) const {
  if (bytes_ > max_bytes) {
    refuse(path_, fmt::format("its {} bytes are more than the {} allowed", bytes_, max_bytes));
  }
  return read_start(static_cast<std::size_t>(bytes_));
}

NewSharedFile::NewSharedFile(fs::path path) : path_(std::move(path)) {
  struct stat info{};
  if (::lstat(path_.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    throw Error(ErrorKind::io,
                fmt::format("{} cannot be written: what is there is not a regular file", path_.string()));
  }
  std::random_device random;
  do {
    temporary_ = fmt::format("{}.{:08x}.tmp", path_.string(), random());
    // Unlike mkstemp's 0600 this leaves it to the umask who may read; others may not write, whatever the umask.
    descriptor_ = Descriptor(without_interruption(
        [&] { return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644); }));
  } while (!descriptor_ && errno == EEXIST);
  if (!descriptor_) {
    fail("open");
  }
}

NewSharedFile::~NewSharedFile() {
  if (descriptor_) {
    ::unlink(temporary_.c_str());
  }
}

void NewSharedFile::fail(const char *call) const {
  throw Error(ErrorKind::io, fmt::format("{} cannot be written: {}", path_.string(), error_text(errno)),
              {.where = call});
}

void NewSharedFile::write(std::span<const unsigned char> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        without_interruption([&] { return ::write(descriptor_.get(), bytes.data(), bytes.size()); });
    if (written <= 0) {
      fail("write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void NewSharedFile::commit() {
  if (without_interruption([&] { return ::fsync(descriptor_.get()); }) != 0) {
    fail("fsync");
  }
  if (without_interruption([&] { return ::rename(temporary_.c_str(), path_.c_str()); }) != 0) {
    fail("rename");
  }
  descriptor_ = Descriptor();
}

} // namespace sale
