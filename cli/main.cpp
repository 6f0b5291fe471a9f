// SPDX-License-Identifier: Apache-2.0
// The `sale` command. Exit codes: 0 ok, 1 failed, 2 bad usage or input, 3 a check not met, 128 + a signal's number.
#include "cli/command.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <new>

namespace {

using sale::Error;
using sale::ErrorKind;

// Errors are one line, so that scripts can show or search them.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') {
    text.pop_back();
  }
  return text;
}

void report(const Error &error, bool verbose) {
  const auto &details = error.details();
  fmt::print(stderr, "sale: {}\n", one_line(error.what()));
  if (!verbose) {
    // Only the emulator gives a launch a log: what the kernel did wrong and where.
    if (error.kind() == ErrorKind::launch && !details.log.empty()) {
      fmt::print(stderr, "{}\n", details.log);
    }
    return;
  }
  const auto section = [](const char *name, const std::string &text) {
    if (!text.empty()) {
      fmt::print(stderr, "{}: {}\n", name, text);
    }
  };
  section("kind", to_string(error.kind()));
  section("where", details.where);
  section("kernel", details.spec);
  section("options", details.options);
  section("log", details.log);
}

int exit_code(const Error &error) {
  const bool input = error.kind() == ErrorKind::invalid_argument || error.kind() == ErrorKind::io;
  return input ? sale::cli::exit_bad_input : sale::cli::exit_failed;
}

int execute(const sale::cli::Command &command, bool verbose) {
  try {
    return command();
  } catch (const Error &error) {
    report(error, verbose);
    return exit_code(error);
  } catch (const std::bad_alloc &) {
    fmt::print(stderr, "sale: this machine has not enough memory for the input\n");
  } catch (const std::exception &error) {
    fmt::print(stderr, "sale: {}\n", one_line(error.what()));
  }
  return sale::cli::exit_failed;
}

// Output that is buffered or lost (a full disk, a closed pipe) must not end as success.
int flush_output(int code) {
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout) {
    return code;
  }
  fmt::print(stderr, "sale: standard output could not be written to its end; is the disk full\n");
  return sale::cli::exit_failed;
}

} // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): only building the command line itself may throw, and that is a bug
int main(int argc, char **argv) {
  CLI::App app("Sparse attention for long-context LLM prefill: generates, compiles, caches and runs SALE kernels.",
               "sale");
  app.set_version_flag("--version", "sale " SALE_VERSION);
  app.fallthrough();
  bool verbose = false;
  app.add_flag("--verbose", verbose, "After an error, print the log, options and kernel concerned");

  sale::cli::Command command;
  sale::cli::add_info(app, command);
  sale::cli::add_generate(app, command);
  sale::cli::add_prewarm(app, command);
  sale::cli::add_run(app, command);
  sale::cli::add_calibrate(app, command);
  sale::cli::add_check(app, command);
  sale::cli::add_bench(app, command);
  sale::cli::add_synth(app, command);
  sale::cli::add_cache(app, command);
  sale::cli::add_tune_worker(app, command);
  sale::cli::add_tuning(app, command);
  sale::cli::add_tune(app, command);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &request) { // --help, --version
    return flush_output(app.exit(request));
  } catch (const CLI::ParseError &error) {
    fmt::print(stderr, "sale: {}; see sale --help\n", one_line(error.what()));
    return sale::cli::exit_bad_input;
  }
  if (!command) {
    fmt::print(
        stderr,
        "sale: say what to do: info, generate, prewarm, run, calibrate, check, bench, synth, cache, tune or tuning; see sale --help\n");
    return sale::cli::exit_bad_input;
  }
  return flush_output(execute(command, verbose));
}
