// SPDX-License-Identifier: Apache-2.0
// What the files of a cache folder are called: root/kernels/KEY-VERSION-BUILD.kernel,
// root/locks/KEY-VERSION-BUILD.lock, root/gc.lock, root/history, and temporary files.
#pragma once

#include "cache/compiler_id.hpp"
#include "cache/entry.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace sale {

inline constexpr const char *kernels_folder = "kernels";
inline constexpr const char *locks_folder = "locks";
inline constexpr const char *garbage_lock_file = "gc.lock";
inline constexpr const char *history_file = "history";

std::string kernel_file_name(const std::string &key, const CompilerId &compiler);
CompilerId compiler_of(const Entry &entry);
bool is_named(std::string_view name, const Entry &entry);
/// The problem of a file whose name is not that of its entry.
inline constexpr const char *wrong_kernel_name = "it holds another kernel than its name says";
/// Room for the preamble on top of an entry's two bounded parts.
inline constexpr std::size_t max_kernel_file_bytes = max_entry_header_bytes + max_entry_binary_bytes + 4096;

std::string lock_file_name(const std::string &key, const CompilerId &compiler);

bool is_kernel_file(std::string_view name);
/// What the names of all files of one kernel begin with.
std::string kernel_file_start(const std::string &key);
bool is_lock_file(std::string_view name);
bool is_temporary_file(std::string_view name);

/// The compiler in a kernel file's name. Its text has been made fit for a name: good to order files by, no more.
CompilerId compiler_in(std::string_view name);

} // namespace sale
