// SPDX-License-Identifier: Apache-2.0
// What a GPU gave: one text file per family, one line per case. Outputs that are compared bit for bit are kept as their
// SHA-256 and first words, the others as they are.
#pragma once

#include "tests/conformance/case.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace sale::conformance {

struct Golden {
  std::size_t count = 0;  ///< Words of output.
  std::string digest;     ///< Empty when all words are kept.
  std::vector<u32> words; ///< All, or the first few.
};

/// `output` with every NaN made the same, as far as the case's values are floats.
std::vector<u32> canonical(const Case &test, std::vector<u32> output);

/// What to keep of a case's canonical output.
Golden make_golden(const Case &test, const std::vector<u32> &output);

/// Empty = they agree; else what differs first.
std::string difference(const Case &test, const std::vector<u32> &output, const Golden &golden);

/// By case name. Throws sale::Error for a malformed file.
std::map<std::string, Golden> read_golden_file(const std::filesystem::path &path);

void write_golden_file(const std::filesystem::path &path, const std::string &provenance,
                       const std::vector<std::pair<std::string, Golden>> &cases);

} // namespace sale::conformance
