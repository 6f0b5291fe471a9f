// SPDX-License-Identifier: Apache-2.0
// The command line, and what it does instead of testing: --record and --dump.
#include "tests/conformance/program.hpp"

#include "sale/error.hpp"
#include "tests/conformance/golden.hpp"
#include "tests/conformance/machine.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <utility>

namespace sale::conformance {

ProgramOptions &program_options() {
  static ProgramOptions options;
  return options;
}

const std::vector<std::string> &family_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    for (const Case &test : all_cases()) {
      if (found.empty() || found.back() != test.family) {
        found.push_back(test.family);
      }
    }
    return found;
  }();
  return names;
}

std::vector<const Case *> chosen_cases(const std::string &family) {
  std::vector<const Case *> chosen;
  for (const Case &test : all_cases()) {
    if (test.family == family && test.full_name().find(program_options().cases) != std::string::npos) {
      chosen.push_back(&test);
    }
  }
  return chosen;
}

namespace {

void dump(const std::filesystem::path &path, const std::vector<u32> &words) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(words.data()), static_cast<std::streamsize>(words.size() * sizeof(u32)));
}

// Every family's outputs; returns how many cases failed or are not what plain host code gives.
int collect(const Machine &machine) {
  const ProgramOptions &options = program_options();
  int wrong = 0;
  for (const std::string &family : family_names()) {
    std::vector<std::pair<std::string, Golden>> goldens;
    for (const Case *test : chosen_cases(family)) {
      try {
        const std::vector<u32> output = canonical(*test, machine.run(*test));
        const bool as_expected = test->expected.empty() || output == test->expected;
        fmt::print("{} {}\n", as_expected ? "ran  " : "WRONG", test->full_name());
        wrong += as_expected ? 0 : 1;
        if (!options.dump.empty()) {
          dump(options.dump / (test->full_name() + ".bin"), output);
        }
        goldens.emplace_back(test->name, make_golden(*test, output));
      } catch (const Error &error) {
        fmt::print("ERROR {}: {}\n{}\n", test->full_name(), error.what(), error.details().log);
        ++wrong;
      }
      std::fflush(stdout);
    }
    if (!options.record.empty() && !goldens.empty()) {
      write_golden_file(options.record / (family + ".txt"),
                        fmt::format("{}, {}", machine.describe(), options.provenance), goldens);
    }
  }
  return wrong;
}

void write_sources() {
  for (const std::string &family : family_names()) {
    for (const Case *test : chosen_cases(family)) {
      std::ofstream(program_options().sources / (test->full_name() + ".cu")) << test->source;
    }
  }
}

int main_of(int argc, char **argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ProgramOptions &options = program_options();
  options.driver = default_driver();
  options.golden = std::filesystem::path(SALE_SOURCE_DIR) / "tests/conformance/golden";
  CLI::App app("Executes every primitive of templates/device/ and compares with what a GPU gave");
  app.add_option("--cases", options.cases, "Only cases whose name contains this");
  app.add_option("--driver", options.driver, "The CUDA driver's or the emulator's library");
  app.add_option("--golden", options.golden, "Folder of golden files")->check(CLI::ExistingDirectory);
  app.add_option("--sources", options.sources, "Write every case's CUDA source there")->check(CLI::ExistingDirectory);
  auto *record = app.add_option("--record", options.record, "Write golden files there")->check(CLI::ExistingDirectory);
  app.add_option("--dump", options.dump, "Write every output there")->check(CLI::ExistingDirectory);
  record->needs(app.add_option("--provenance", options.provenance, "Date and driver version, for the golden files"));
  CLI11_PARSE(app, argc, argv);
  if (!options.sources.empty()) {
    write_sources();
    return 0;
  }
  if (options.record.empty() && options.dump.empty()) {
    return RUN_ALL_TESTS();
  }
  try {
    const Machine machine(options.driver);
    return collect(machine) == 0 ? 0 : 1;
  } catch (const Error &error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}

} // namespace
} // namespace sale::conformance

int main(int argc, char **argv) { return sale::conformance::main_of(argc, argv); }
