// SPDX-License-Identifier: Apache-2.0
// Whole-file reads and atomic writes. Failures are values, because a cache's disk errors never are its
// caller's.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sale {

enum class FileStatus { ok, absent, failed };

struct FileContents {
  FileStatus status = FileStatus::failed;
  std::vector<unsigned char> bytes;
  std::string problem; ///< System error text when failed.
};

/// Reads a regular file of at most `max_bytes`; symbolic links are not followed.
FileContents read_file(const std::filesystem::path &path, std::size_t max_bytes);

/// Writes beside `path`, syncs, then renames over it: readers see the old file, the new file or none. Returns the
/// system error text, or nothing on success.
std::optional<std::string> write_file_atomically(const std::filesystem::path &path,
                                                 std::span<const unsigned char> bytes);

/// Temporary files of write_file_atomically start with this.
inline constexpr const char *temporary_prefix = ".tmp-";

/// Creates `path` and missing parents, each 0700, then checks it as below.
std::optional<std::string> make_private_directory(const std::filesystem::path &path);

/// A problem when `path` is no directory, belongs to somebody else, or others may write into it: what is loaded from it
/// runs on the device.
std::optional<std::string> check_private_directory(const std::filesystem::path &path);

} // namespace sale
