// SPDX-License-Identifier: Apache-2.0
// Small and read-only file systems that only this process and its children see.
#pragma once

#include "tests/faults/table.hpp"

#include <cstddef>
#include <filesystem>
#include <functional>

namespace sale::faults {

/// What `rounds` returns, run in a process that may mount; skipped where none may.
Row with_private_mounts(const std::function<Row()> &rounds);

/// Within that process. All throw std::runtime_error.
void mount_small(const std::filesystem::path &folder, std::size_t bytes);
void make_read_only(const std::filesystem::path &folder);
void unmount(const std::filesystem::path &folder);

} // namespace sale::faults
