// SPDX-License-Identifier: Apache-2.0
// Ways of handing sequences over, in a word each.
#pragma once

#include "sale/types.hpp"

#include <string>

namespace sale::cli {

/// "plain", "ragged", "paged:64" (keys of a page), "coded:64" (pages with codes of K beside them) or "parts". Throws
/// Error(invalid_argument).
Serving parse_serving(const std::string &word);

} // namespace sale::cli
