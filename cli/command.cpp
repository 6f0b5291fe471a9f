// SPDX-License-Identifier: Apache-2.0
#include "cli/command.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace sale::cli {

void warn(const std::string &sentence) { fmt::print(stderr, "sale: warning: {}\n", sentence); }

} // namespace sale::cli
