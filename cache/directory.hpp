// SPDX-License-Identifier: Apache-2.0
// Where the user's cache is.
#pragma once

#include <filesystem>

namespace sale {

/// SALE_CACHE_DIR, else XDG_CACHE_HOME/sale, else ~/.cache/sale; empty when the environment names none of them.
std::filesystem::path default_cache_dir();

} // namespace sale
