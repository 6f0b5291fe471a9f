// SPDX-License-Identifier: Apache-2.0
// Files that a command writes: whether they can be written is asked before the work, and they appear whole or not at
// all.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace sale::cli {

/// Throws Error(io) with one sentence when no file can be written at `path`.
void require_writable_path(const std::filesystem::path &path);

/// `write` gets the path to write to; what it wrote then takes the place of `path`.
void write_whole(const std::filesystem::path &path, const std::function<void(const std::filesystem::path &)> &write);

/// Writes text to a file, or to standard output when the name is empty or "-".
void write_text(const std::string &file_name, const std::string &text);

} // namespace sale::cli
