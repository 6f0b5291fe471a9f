// SPDX-License-Identifier: Apache-2.0
// One thing to check: a problem, a policy, a shape and how they are called. Readable and written as YAML.
#pragma once

#include "sale/types.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sale::check {

enum class Mode {
  sparse,     ///< Plan::run
  given_mask, ///< Plan::run with mask_in: no selection
  dense       ///< Plan::run_dense
};

const char *to_string(Mode mode);

struct CheckCase {
  std::string arch; ///< "sm_90"; empty = the device's own
  Problem problem;
  Policy policy;
  Shape shape;
  Mode mode = Mode::sparse;
  bool strided = false;    ///< Rows with gaps between them, as engines keep Q, K and V; else packed.
  bool kbar_given = false; ///< RunArgs::kbar; else the mean of the keys.
  bool per_call = false;   ///< tau and shift through RunArgs instead of the policy.
  std::uint64_t seed = 1;  ///< Of Q, K and V.

  /// One line.
  std::string describe() const;
  /// Lines that parse_cases reads back as this case.
  std::string yaml() const;
};

/// A file with one case (a map) or several (a list of maps). Throws Error(invalid_argument) "FILE:LINE: ...".
std::vector<CheckCase> load_cases(const std::filesystem::path &file);
std::vector<CheckCase> parse_cases(const std::string &text, const std::string &file_name);

/// Throws Error(invalid_argument) when no kernel exists for it.
void validate(const CheckCase &check_case);

} // namespace sale::check
