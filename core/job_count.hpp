// SPDX-License-Identifier: Apache-2.0
// How much of this machine a process may use: cores by affinity and cgroup, memory that is free by kernel and cgroup.
#pragma once

#include <cstdint>
#include <filesystem>

namespace sale {

/// At least 1. `root` stands for / where files of the system are read; tests give their own.
int usable_cores(const std::filesystem::path &root = "/");

/// Bytes that can be had without swapping; the largest number when nothing says.
std::uint64_t available_memory(const std::filesystem::path &root = "/");

/// `asked` jobs (0 = one per core), fewer where memory is short of `bytes_per_job` for each, at least 1.
int job_count(int asked, std::uint64_t bytes_per_job, const std::filesystem::path &root = "/");

} // namespace sale
