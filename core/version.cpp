// SPDX-License-Identifier: Apache-2.0
#include "core/version.hpp"

namespace sale {

const char *library_version() { return SALE_VERSION; }

} // namespace sale
