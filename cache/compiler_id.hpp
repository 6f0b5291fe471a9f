// SPDX-License-Identifier: Apache-2.0
// Which compiler made a kernel, and which of two is newer.
#pragma once

#include <string>

namespace sale {

struct CompilerId {
  std::string version; ///< "13.0"
  std::string build;   ///< Letters, digits and dashes.
  friend bool operator==(const CompilerId &, const CompilerId &) = default;
};

/// By version, number by number ("13.0" is newer than "9.2"); of one version by the build's text. Of two that are not
/// equal one is newer.
bool is_newer(const CompilerId &a, const CompilerId &b);

/// Negative, 0 or positive: versions alone, number by number; other text by its characters.
int compare_versions(const std::string &a, const std::string &b);

} // namespace sale
