// SPDX-License-Identifier: Apache-2.0
// The tuning records that `sale tune` starts from, and the file that it adds to.
#pragma once

#include "generator/tuning.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace sale::cli {

/// `asked`, else the user's own record. Throws Error(io) where it cannot be written.
std::filesystem::path tuning_output(const std::string &asked);

/// What --start-from names: a file, "layers" or "none"; unless it is none, also what `output` has, as the last.
std::vector<TuningRecord> earlier_records(const std::string &start_from, const std::filesystem::path &output);

/// Puts what is known of the GPU's kernels in place of what the file says of them. The file appears whole or stays as
/// it was.
void add_to_record(const std::filesystem::path &file, const GpuTuning &gpu);

} // namespace sale::cli
