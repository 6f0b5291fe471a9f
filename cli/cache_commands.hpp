// SPDX-License-Identifier: Apache-2.0
// Subcommands of `sale cache` that have a file of their own.
#pragma once

#include "cli/command.hpp"
#include "cli/engine_options.hpp"

#include <memory>

namespace sale::cli {

void add_cache_bench(CLI::App &cache, Command &command, const std::shared_ptr<EngineOptions> &engine);

} // namespace sale::cli
