// SPDX-License-Identifier: Apache-2.0
// The one file that is compiled for each of the two programs.
#include "tests/conformance/program.hpp"

namespace sale::conformance {

std::filesystem::path default_driver() { return SALE_CONFORMANCE_DRIVER; }

} // namespace sale::conformance
