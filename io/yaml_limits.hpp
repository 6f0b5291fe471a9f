// SPDX-License-Identifier: Apache-2.0
// What hostile YAML may not do: a few bytes of aliases or brackets that become much memory or a deep stack.
#pragma once

#include <cstddef>
#include <string>

namespace sale::io {

struct YamlLimits {
  std::size_t depth = 16;          ///< of lists and maps in each other
  std::size_t nodes = 4U << 20U;   ///< lists, maps, keys and values together
  std::size_t scalar = 64U << 10U; ///< bytes of one key or value
};

/// Throws Error(invalid_argument) "FILE:LINE: ..." when the text is no YAML, has an anchor or alias, is no UTF-8
/// without control characters, or is over a limit. Builds nothing, and stops at the first of these.
void check_yaml(const std::string &text, const std::string &file_name, const YamlLimits &limits);

} // namespace sale::io
