// SPDX-License-Identifier: Apache-2.0
#include "sale/version.hpp"

namespace sale {

const char *version() noexcept { return SALE_VERSION; }

int abi_version() noexcept { return SALE_ABI_VERSION; }

} // namespace sale
