// SPDX-License-Identifier: Apache-2.0
// Subcommands of `sale cache` that have a file of their own.
#pragma once

#include "cli/command.hpp"
#include "cli/engine_options.hpp"

#include <filesystem>
#include <memory>
#include <string>

namespace sale::cli {

void add_cache_bench(CLI::App &cache, Command &command, const std::shared_ptr<EngineOptions> &engine);

/// pack and unpack.
void add_cache_pack(CLI::App &cache, Command &command, const std::shared_ptr<EngineOptions> &engine);
/// "--key PUBLIC.pem".
void add_pack_key_to(CLI::App &app, std::string &key);
/// Says what is in a pack and checks all of it; the exit code. The key may be empty.
int verify_pack(const std::filesystem::path &file, const std::filesystem::path &key);

} // namespace sale::cli
