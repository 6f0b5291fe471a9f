// SPDX-License-Identifier: Apache-2.0
// Which captured files are of which layer, and their tensors.
#pragma once

#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sale::cli {

struct LayerFiles {
  std::vector<std::string> files;
  std::vector<std::string> judges;
};

/// By layer, as the files' metadata say, else one layer a file. Throws Error(invalid_argument) when files and judges
/// are not of the same layers.
std::map<int, LayerFiles> sort_files(const std::vector<std::string> &samples, const std::vector<std::string> &judging);

/// `problem` becomes that of the first file ever loaded with it; all others must have its softmax scale, or what they
/// calibrate would mean something else.
std::vector<reference::Tensors> load_samples(const std::vector<std::string> &files, std::optional<Problem> &problem);

} // namespace sale::cli
