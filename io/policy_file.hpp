// SPDX-License-Identifier: Apache-2.0
// Calibrated thresholds of a whole model: YAML with schema, model, policy{...}, tau[layer][head], shift[layer][head].
#pragma once

#include "sale/types.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sale::io {

struct TauFile {
  std::string file_name;
  std::string model;
  Policy policy; ///< what the file's `policy` says, defaults elsewhere; no per-head values
  std::vector<std::vector<float>> tau;
  std::vector<std::vector<float>> shift; ///< empty = 0 everywhere
};

TauFile load_tau_file(const std::filesystem::path &path);

/// The policy of one layer. `layer` may be left out when the file has only one.
Policy layer_policy(const TauFile &file, std::optional<int> layer, const Problem &problem);

} // namespace sale::io
