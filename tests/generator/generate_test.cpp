// SPDX-License-Identifier: Apache-2.0
#include "generator/generate.hpp"
#include "generator/template_source.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace sale {
namespace {

std::vector<KernelSpec> some_specs() {
  std::vector<KernelSpec> specs;
  for (const Estimator estimator : {Estimator::exact, Estimator::int8, Estimator::int4}) {
    for (const Arch arch : {Arch{8, 0}, Arch{9, 0}}) {
      Policy policy;
      policy.estimator = estimator;
      const auto plan = plan_kernels(Problem{}, policy, arch);
      specs.insert(specs.end(), plan.begin(), plan.end());
    }
  }
  return specs;
}

TEST(GenerateTest, TheSourceIsSelfContained) {
  for (const KernelSpec &spec : some_specs()) {
    const std::string source = generate(spec);
    EXPECT_EQ(source.find("#include"), std::string::npos) << spec.describe();
    EXPECT_EQ(source.find("#pragma once"), std::string::npos) << spec.describe();
    EXPECT_NE(source.find("struct Config {"), std::string::npos) << spec.describe();
    EXPECT_NE(source.find(spec.entry_name() + "(const "), std::string::npos) << spec.describe();
  }
}

TEST(GenerateTest, TheSameSpecGivesTheSameSource) {
  for (const KernelSpec &spec : some_specs()) {
    EXPECT_EQ(generate(spec), generate(spec));
  }
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

// Each line of a source as compilers number it: by its file and line.
struct NumberedLine {
  std::string file;
  std::size_t number = 0;
  std::string text;
};

std::vector<NumberedLine> numbered(const std::string &source) {
  const std::regex directive("#line ([0-9]+) \"([^\"]+)\"");
  std::vector<NumberedLine> lines;
  NumberedLine next{"start", 1, {}};
  for (const std::string &line : lines_of(source)) {
    std::smatch match;
    if (std::regex_match(line, match, directive)) {
      next = {match[2], std::stoul(match[1]), {}};
    } else {
      next.text = line;
      lines.push_back(next);
      ++next.number;
    }
  }
  return lines;
}

bool is_code(const std::string &line) { return !line.empty() && line.substr(0, 2) != "//"; }

TEST(GenerateTest, EveryLineOfCodeIsNumberedAsInItsFile) {
  for (const KernelSpec &spec : some_specs()) {
    const std::string source = generate(spec);
    std::map<std::string, std::vector<std::string>, std::less<>> files = {
        {spec.entry_name() + ".cu", lines_of(source)}};
    for (const TemplateFile &file : embedded_templates()) {
      files[std::string(file.path)] = lines_of(file.text);
    }
    for (const NumberedLine &line : numbered(source)) {
      if (!is_code(line.text)) {
        continue;
      }
      ASSERT_EQ(files.count(line.file), 1U) << line.file;
      ASSERT_LE(line.number, files[line.file].size()) << line.file;
      EXPECT_EQ(line.text, files[line.file][line.number - 1]) << line.file << ':' << line.number;
    }
  }
}

TEST(GenerateTest, TheCodeOfEveryIncludedTemplateAppearsOnceAndWhole) {
  const std::string source = generate(KernelSpec{});
  std::map<std::string, std::size_t, std::less<>> code_lines;
  for (const NumberedLine &line : numbered(source)) {
    code_lines[line.file] += is_code(line.text) ? 1 : 0;
  }
  for (const TemplateFile &file : embedded_templates()) {
    if (code_lines.count(file.path) == 1) {
      std::size_t expected = 0;
      for (const std::string &line : lines_of(file.text)) {
        expected += is_code(line) && line != "#pragma once" && line.substr(0, 8) != "#include" ? 1 : 0;
      }
      EXPECT_EQ(code_lines.find(file.path)->second, expected) << file.path;
    }
  }
}

TEST(GenerateTest, TheLicenseIsStatedOnce) {
  const std::string source = generate(KernelSpec{});
  const std::size_t first = source.find(license_line);
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(source.find(license_line, first + 1), std::string::npos);
}

TEST(GenerateTest, EveryTemplateBeginsWithItsLicenseAndWhatItIsFor) {
  for (const TemplateFile &file : embedded_templates()) {
    const std::vector<std::string> lines = lines_of(file.text);
    ASSERT_GT(lines.size(), 3U) << file.path;
    EXPECT_EQ(lines[0], license_line) << file.path;
    std::size_t line = 1;
    while (lines[line].substr(0, 2) == "//") {
      ++line;
    }
    EXPECT_GT(line, 1U) << file.path;
    EXPECT_EQ(lines[line], "#pragma once") << file.path;
  }
}

TEST(GenerateTest, FieldsThatDoNotMatterToAStageDoNotChangeItsSource) {
  KernelSpec mean;
  mean.stage = Stage::mean;
  KernelSpec other = mean;
  other.gqa = 7;
  other.block_q = 128;
  EXPECT_EQ(generate(mean), generate(other));

  KernelSpec attend;
  other = attend;
  other.estimator = Estimator::int4;
  EXPECT_EQ(generate(attend), generate(other));

  attend.dense = true;
  attend.tile = default_tile(attend);
  other = attend;
  other.block_k = 64;
  EXPECT_EQ(generate(attend), generate(other));

  KernelSpec select;
  select.stage = Stage::select;
  select.tile = default_tile(select);
  other = select;
  other.dtype = DType::f16;
  EXPECT_EQ(generate(select).substr(generate(select).find('\n')), generate(other).substr(generate(other).find('\n')));

  other = select;
  other.softcap = true;
  other.sink_logits = true;
  EXPECT_EQ(generate(select), generate(other));

  KernelSpec quantize;
  quantize.stage = Stage::quantize;
  quantize.tile = default_tile(quantize);
  other = quantize;
  other.causal = false;
  EXPECT_EQ(generate(quantize), generate(other));
}

TEST(GenerateTest, FieldsThatMatterChangeTheSource) {
  const KernelSpec base;
  const std::string source = generate(base);
  const auto differs = [&](auto change) {
    KernelSpec spec = base;
    change(spec);
    EXPECT_NE(generate(spec), source) << spec.describe();
  };
  differs([](KernelSpec &s) { s.dtype = DType::f16; });
  differs([](KernelSpec &s) { s.head_dim = 64; });
  differs([](KernelSpec &s) { s.gqa = 3; });
  differs([](KernelSpec &s) { s.block_q = 128; });
  differs([](KernelSpec &s) { s.block_k = 64; });
  differs([](KernelSpec &s) { s.dense = true; });
  differs([](KernelSpec &s) { s.causal = false; });
  differs([](KernelSpec &s) { s.sliding = true; });
  differs([](KernelSpec &s) { s.softcap = true; });
  differs([](KernelSpec &s) { s.sink_logits = true; });
  differs([](KernelSpec &s) { s.tile.stages = 3; });
  differs([](KernelSpec &s) { s.tile.min_ctas = 2; });
}

TEST(GenerateTest, AMissingTemplateIsAnErrorThatNamesIt) {
  std::set<std::string, std::less<>> seen;
  try {
    flatten_template("device/nothing.cuh", seen);
    FAIL() << "flattened a file that does not exist";
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::generate);
    EXPECT_NE(std::string(error.what()).find("device/nothing.cuh"), std::string::npos);
  }
}

TEST(GenerateTest, TheSourceReadsAsClangFormatWouldWriteIt) {
  const std::string clang_format = SALE_CLANG_FORMAT;
  if (clang_format.empty()) {
    GTEST_SKIP() << "clang-format-19 is not installed";
  }
  const auto folder = std::filesystem::path(SALE_BINARY_DIR) / "generated-sources";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(std::filesystem::path(SALE_SOURCE_DIR) / ".clang-format", folder / ".clang-format",
                             std::filesystem::copy_options::overwrite_existing);
  int index = 0;
  for (const KernelSpec &spec : some_specs()) {
    const auto file = folder / ("kernel" + std::to_string(index++) + ".cu");
    std::ofstream(file) << generate(spec);
    const std::string command = clang_format + " --dry-run -Werror " + file.string();
    EXPECT_EQ(std::system(command.c_str()), 0) << spec.describe();
  }
}

} // namespace
} // namespace sale
