// SPDX-License-Identifier: Apache-2.0
// Which libsale this is. A program that was compiled with the headers of another C++ ABI is refused by the loader,
// which names the symbol version SALE_ABI_n that it lacks (docs/abi.md).
#pragma once

#include "sale/export.h"

/// Of these headers' classes and structs; another number, another ABI.
#define SALE_ABI_VERSION 1

namespace sale {

/// "0.1.0".
SALE_API const char *version() noexcept;

/// SALE_ABI_VERSION of the library that is loaded, for hosts that open it with dlopen.
SALE_API int abi_version() noexcept;

} // namespace sale
