// SPDX-License-Identifier: Apache-2.0
// A TuningRecord as a YAML file.
#pragma once

#include "generator/tuning.hpp"

#include <string>

namespace sale::autotune {

/// Throws Error(invalid_argument) "FILE:LINE: ..." for anything but a whole record. That its tiles suit their kernels
/// is found out where those are known (choices_for).
TuningRecord parse_record(const std::string &text, const std::string &file_name);

/// What parse_record reads back as this record, `source` aside. Throws Error(invalid_argument) where it could not.
std::string record_text(const TuningRecord &record);

} // namespace sale::autotune
