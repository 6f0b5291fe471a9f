// SPDX-License-Identifier: Apache-2.0
#include "cache/file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace sale {

namespace {

std::string error_text(const char *call, int error) {
  return fmt::format("{}: {}", call, std::generic_category().message(error));
}

class Descriptor {
public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) {
      ::close(value_);
    }
  }
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  int get() const { return value_; }

private:
  int value_;
};

bool write_all(int descriptor, std::span<const unsigned char> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

} // namespace

FileContents read_file(const std::filesystem::path &path, std::size_t max_bytes) {
  // O_NONBLOCK: a named pipe in the file's place must not hang the caller.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) {
    const int error = errno;
    const bool absent = error == ENOENT || error == ENOTDIR;
    return {absent ? FileStatus::absent : FileStatus::failed, {}, error_text("open", error)};
  }
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) {
    return {FileStatus::failed, {}, error_text("fstat", errno)};
  }
  if (!S_ISREG(info.st_mode)) {
    return {FileStatus::failed, {}, "it is not a regular file"};
  }
  if (static_cast<std::size_t>(info.st_size) > max_bytes) {
    return {FileStatus::failed, {}, fmt::format("its {} bytes are more than the {} allowed", info.st_size, max_bytes)};
  }
  std::vector<unsigned char> bytes(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return {FileStatus::failed, {}, error_text("read", errno)};
    }
    if (got == 0) {
      break;
    }
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return {FileStatus::ok, std::move(bytes), {}};
}

std::optional<std::string> write_file_atomically(const std::filesystem::path &path,
                                                 std::span<const unsigned char> bytes) {
  std::string temporary = (path.parent_path() / fmt::format("{}XXXXXX", temporary_prefix)).string();
  const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (file.get() < 0) {
    return error_text("mkostemp", errno);
  }
  const char *failed = nullptr;
  if (!write_all(file.get(), bytes)) {
    failed = "write";
  } else if (::fsync(file.get()) != 0) {
    failed = "fsync";
  } else if (::rename(temporary.c_str(), path.c_str()) != 0) {
    failed = "rename";
  }
  if (failed == nullptr) {
    return std::nullopt;
  }
  const int error = errno;
  ::unlink(temporary.c_str());
  return error_text(failed, error);
}

std::optional<std::string> make_private_directory(const std::filesystem::path &path) {
  const std::filesystem::path parent = path.parent_path();
  std::error_code ignored;
  if (!parent.empty() && parent != path && !std::filesystem::exists(parent, ignored)) {
    if (auto problem = make_private_directory(parent)) {
      return fmt::format("{}: {}", parent.string(), *problem);
    }
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return error_text("mkdir", errno);
  }
  return check_private_directory(path);
}

std::optional<std::string> check_private_directory(const std::filesystem::path &path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    return error_text("stat", errno);
  }
  if (!S_ISDIR(info.st_mode)) {
    return "it is not a directory";
  }
  if (info.st_uid != ::geteuid()) {
    return fmt::format("it belongs to user {}, not to user {} who runs this", info.st_uid, ::geteuid());
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return "others may write into it (chmod go-w makes it usable)";
  }
  return std::nullopt;
}

} // namespace sale
