// SPDX-License-Identifier: Apache-2.0
// Whole-file reads and atomic writes, relative to an opened folder so that no path is walked twice. Failures are
// values, because a cache's disk errors never are its caller's.
#pragma once

#include "cache/trust.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sale {

/// What went wrong; false when nothing did.
struct Failure {
  int code = 0; ///< errno, or 0.
  std::string text;
  explicit operator bool() const { return !text.empty(); }
};

/// "open: No such file or directory".
Failure failure_of(const char *call, int code);

enum class FileStatus { ok, absent, failed };

/// What tells a file from its successor of the same name.
struct FileFacts {
  std::uint64_t inode = 0;
  std::uint64_t bytes = 0;
  std::int64_t stamp = 0; ///< Of its last use, or write: nanoseconds since 1970.
};

FileFacts facts_of(const struct stat &info);

/// The facts of a regular file; anything else that has the name counts as absent.
FileStatus look_at(int folder, const std::string &name, FileFacts &facts, Failure &failure);

/// The stamp of this moment.
std::int64_t stamp_now();

struct FileContents {
  FileStatus status = FileStatus::failed;
  std::vector<unsigned char> bytes;
  std::string problem; ///< Why it is not ok.
  int code = 0;        ///< errno of the problem, or 0.
  FileFacts facts;
};

/// Reads a regular file of at most `max_bytes`; symbolic links are not followed.
FileContents read_file(const std::filesystem::path &path, std::size_t max_bytes);
FileContents read_file_at(int folder, const std::string &name, std::size_t max_bytes, Keeper keeper);

/// Writes beside `path`, syncs, then renames over it: readers see the old file, the new file or none. Only its owner
/// may read the file, whatever the umask. Returns the system error text, or nothing on success.
std::optional<std::string> write_file_atomically(const std::filesystem::path &path,
                                                 std::span<const unsigned char> bytes);
Failure write_file_at(int folder, const std::string &name, std::span<const unsigned char> bytes);

/// Temporary files of write_file_atomically start with this.
inline constexpr const char *temporary_prefix = ".tmp-";

/// Whether a file can be made in the folder, found out by making one.
Failure try_to_write_in(int folder);

/// Says that the file was used now. Not every file system can; that is no failure.
void stamp_file(int folder, const std::string &name);

struct Removal {
  bool removed = false; ///< False without a failure: it is gone already, or was used or replaced since.
  std::uint64_t bytes = 0;
  Failure failure;
};

Removal remove_file_at(int folder, const std::string &name);
/// Removes the file that had these facts.
Removal remove_unchanged(int folder, const std::string &name, const FileFacts &facts);

} // namespace sale
