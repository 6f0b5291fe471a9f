// SPDX-License-Identifier: Apache-2.0
#include "generator/generate.hpp"
#include "generator/template_source.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

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

TEST(GenerateTest, EveryIncludedTemplateAppearsOnce) {
  const std::string source = generate(KernelSpec{});
  for (const TemplateFile &file : embedded_templates()) {
    const std::string banner = "// ---- " + std::string(file.path) + " ----";
    const std::size_t first = source.find(banner);
    if (first != std::string::npos) {
      EXPECT_EQ(source.find(banner, first + 1), std::string::npos) << file.path;
    }
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
