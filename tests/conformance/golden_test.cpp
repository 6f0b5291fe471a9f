// SPDX-License-Identifier: Apache-2.0
// Every case against the golden files, on the device that this program was built for.
#include "sale/error.hpp"
#include "tests/conformance/golden.hpp"
#include "tests/conformance/machine.hpp"
#include "tests/conformance/program.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace sale::conformance {
namespace {

struct TestedMachine {
  std::unique_ptr<const Machine> machine;
  std::string why_not;

  static const TestedMachine &get() {
    static const TestedMachine tested = [] {
      TestedMachine found;
      try {
        found.machine = std::make_unique<const Machine>(program_options().driver);
        if (!found.machine->is_hopper()) {
          found.why_not = "the cases need a GPU of compute capability 9.0, this is " + found.machine->describe();
          found.machine.reset();
        }
      } catch (const Error &error) {
        found.why_not = error.what();
      }
      return found;
    }();
    return tested;
  }
};

// Empty = as the golden file says.
std::string mismatch(const Machine &machine, const Case &test, const std::map<std::string, Golden> &goldens) {
  const auto golden = goldens.find(test.name);
  if (golden == goldens.end()) {
    return "the golden file has no such case";
  }
  try {
    const std::vector<u32> output = canonical(test, machine.run(test));
    return difference(test, output, golden->second);
  } catch (const Error &error) {
    return fmt::format("{}\n{}", error.what(), error.details().log);
  }
}

// The emulator's report: each of the refused copies begins where none may.
std::string refusal(const Machine &machine, const Case &test) {
  try {
    machine.run(test);
  } catch (const Error &error) {
    return error.details().log;
  }
  return "it ran";
}

class ConformanceTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ConformanceTest, GivesWhatTheGoldenFileHas) {
  const TestedMachine &tested = TestedMachine::get();
  if (!tested.machine) {
    if (program_options().driver.empty()) {
      GTEST_SKIP() << tested.why_not;
    }
    FAIL() << tested.why_not;
  }
  const auto goldens = read_golden_file(program_options().golden / (GetParam() + ".txt"));
  const std::vector<const Case *> cases = chosen_cases(GetParam());
  int mismatches = 0;
  for (const Case *test : cases) {
    if (const std::string text = mismatch(*tested.machine, *test, goldens); !text.empty()) {
      ADD_FAILURE() << test->full_name() << ": " << text;
      ++mismatches;
    }
  }
  fmt::print("{}: {} cases, {} mismatches\n", GetParam(), cases.size(), mismatches);
}

INSTANTIATE_TEST_SUITE_P(Families, ConformanceTest, ::testing::ValuesIn(family_names()),
                         [](const ::testing::TestParamInfo<std::string> &family) { return family.param; });

TEST(EmulatorConformanceTest, RefusesWhatAGpuRefused) {
  const TestedMachine &tested = TestedMachine::get();
  if (!tested.machine || !tested.machine->is_emulated()) {
    GTEST_SKIP() << "for the emulated device only";
  }
  for (const Case &test : refused_cases()) {
    const std::string said = refusal(*tested.machine, test);
    EXPECT_NE(said.find("coordinate"), std::string::npos) << test.full_name() << ": " << said;
  }
}

TEST(GoldenFileTest, HasNoCaseThatTheSuiteHasNot) {
  std::set<std::string> known;
  for (const Case &test : all_cases()) {
    known.insert(test.full_name());
  }
  for (const auto &file : std::filesystem::directory_iterator(program_options().golden)) {
    const std::string family = file.path().stem().string();
    for (const auto &[name, golden] : read_golden_file(file.path())) {
      EXPECT_TRUE(known.contains(family + "." + name)) << family << "." << name;
    }
  }
}

} // namespace
} // namespace sale::conformance
