// SPDX-License-Identifier: Apache-2.0
// Tuning records for Options::tuning. In the library sale::autotune, which needs yaml-cpp; sale::sale does without.
#pragma once

#include <filesystem>
#include <memory>

namespace sale {

struct TuningRecord;

/// The tiles that were found best on some GPUs. Throws Error(io), or Error(invalid_argument) that says in which line.
std::shared_ptr<const TuningRecord> load_tuning(const std::filesystem::path &file);

} // namespace sale
