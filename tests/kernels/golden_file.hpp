// SPDX-License-Identifier: Apache-2.0
// A file of goldens: one kernel a line, as people read it and diffs show it.
#pragma once

#include "kernel_cost.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace sale {

struct GoldenFile {
  std::string nvrtc; ///< The version that compiled: "13.0".
  /// By kernel name: "tile 64x4/128x2/2  registers 242  ...".
  std::map<std::string, std::string> kernels;
  /// By kernel name: the digest of the source that was compiled.
  std::map<std::string, std::string> sources;
};

/// Below the source tree: "tests/kernels/goldens/sm_90.txt".
std::filesystem::path golden_path(const std::string &arch);

std::string write_goldens(const std::string &arch, const std::string &nvrtc, const std::vector<KernelCost> &costs);

/// Throws Error(invalid_argument) for a line that write_goldens would not write.
GoldenFile parse_goldens(const std::string &text);

/// One line per kernel that is new, gone or costs something else: "attend d64: registers 250 -> 255, spill 0 -> 8".
std::vector<std::string> compare_goldens(const GoldenFile &golden, const std::vector<KernelCost> &costs);

} // namespace sale
