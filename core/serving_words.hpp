// SPDX-License-Identifier: Apache-2.0
// Ways of handing sequences over, in a word each: what the command line and manifests say.
#pragma once

#include "sale/types.hpp"

#include <string>

namespace sale {

/// "plain", "ragged", "paged:64" (keys of a page), "coded:64" (pages with codes of K beside them), "parts", and both:
/// "paged:64+parts"; each with "+counted" behind it where calls are counted on the device. Throws
/// Error(invalid_argument).
Serving parse_serving(const std::string &word);

/// A word for a valid Serving; parsed again it needs the same kernels.
std::string serving_word(const Serving &serving);

} // namespace sale
