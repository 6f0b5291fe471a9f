// SPDX-License-Identifier: Apache-2.0
// Files that one user makes and others read: packs, keys, signatures. Failures are Errors.
#pragma once

#include "cache/descriptor.hpp"
#include "cache/trust.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sale {

/// An open regular file. It is read by pread, so that cutting it short while it is in use is an error and no crash.
class SharedFile {
public:
  /// Throws Error(cache), also when somebody else than its keepers could have written it.
  static SharedFile open(const std::filesystem::path &path, Keeper keeper);

  const std::filesystem::path &path() const { return path_; }
  std::uint64_t bytes() const { return bytes_; } ///< When it was opened.

  /// Fills all of `to`, or returns why not.
  std::optional<std::string> read_at(std::uint64_t offset, std::span<unsigned char> to) const;
  /// The first `count` bytes. Throws Error(cache).
  std::vector<unsigned char> read_start(std::size_t count) const;
  /// Throws Error(cache) when there are more than `max_bytes`.
  std::vector<unsigned char> read_all(std::size_t max_bytes) const;

private:
  SharedFile(std::filesystem::path path, Descriptor descriptor, std::uint64_t bytes);
  std::filesystem::path path_;
  Descriptor descriptor_;
  std::uint64_t bytes_;
};

/// A file under way, readable by everybody whom the umask lets. It takes the place of `path` in commit, or vanishes.
class NewSharedFile {
public:
  /// This and the others throw Error(io). Refuses to take the place of what is no regular file.
  explicit NewSharedFile(std::filesystem::path path);
  ~NewSharedFile();
  NewSharedFile(const NewSharedFile &) = delete;
  NewSharedFile &operator=(const NewSharedFile &) = delete;

  void write(std::span<const unsigned char> bytes);
  void commit();

private:
  [[noreturn]] void fail(const char *call) const;
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  Descriptor descriptor_;
};

} // namespace sale
