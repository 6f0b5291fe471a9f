// SPDX-License-Identifier: Apache-2.0
// Policy files that a command writes: YAML and, where they have projections, safetensors beside it.
#pragma once

#include "io/policy_file.hpp"

#include <string>

namespace sale::cli {

/// Throws Error(io) when no file can be written at `path`, Error(invalid_argument) when it is named as its tensors are.
void require_policy_path(const std::string &path);

/// policy.yaml, and policy.safetensors for its projections; `comment` as policy_file_text's.
void write_policy_file(const std::string &path, io::PolicyFile file, const std::string &comment);

} // namespace sale::cli
