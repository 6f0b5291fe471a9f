// SPDX-License-Identifier: Apache-2.0
// What every subcommand shares: exit codes, how it joins the command line, and how it speaks to the user.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

namespace sale::cli {

inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_bad_input = 2;
inline constexpr int exit_check_not_met = 3;
inline constexpr int exit_by_signal = 128; ///< And its number: 130 after Ctrl-C.

/// What the parsed command line asks for; returns the exit code.
using Command = std::function<int()>;

void add_bench(CLI::App &app, Command &command);
void add_info(CLI::App &app, Command &command);
void add_generate(CLI::App &app, Command &command);
void add_prewarm(CLI::App &app, Command &command);
void add_run(CLI::App &app, Command &command);
void add_cache(CLI::App &app, Command &command);
void add_calibrate(CLI::App &app, Command &command);
void add_check(CLI::App &app, Command &command);
void add_synth(CLI::App &app, Command &command);
void add_tune_worker(CLI::App &app, Command &command);
void add_tuning(CLI::App &app, Command &command);
void add_tune(CLI::App &app, Command &command);

/// "sale: warning: ..." on standard error.
void warn(const std::string &sentence);

} // namespace sale::cli
