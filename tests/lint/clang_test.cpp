// SPDX-License-Identifier: Apache-2.0
// clang, a second compiler, finds nothing wrong with any kernel, nor with any template by itself as editors open it.
#include "command.hpp"
#include "core/parallel_for.hpp"
#include "generator/template_source.hpp"
#include "kernel_files.hpp"
#include "tests/kernels/golden_kernels.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

namespace sale {
namespace {

// clang's complaints about `count` files, all at once.
std::string complaints(std::size_t count, const std::function<std::string(std::size_t)> &file_of) {
  std::vector<std::string> said(count);
  const std::string command =
      "cd " SALE_SOURCE_DIR "/templates && " SALE_CLANG " " + clang_flags() + "-Werror -fsyntax-only ";
  parallel_for(static_cast<std::int64_t>(count), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    const CommandResult result = run_command(command + "'" + file_of(index) + "'");
    if (!result.succeeded) {
      said[index] = file_of(index) + ":\n" + result.output;
    }
  });
  std::string all;
  for (const std::string &one : said) {
    all += one;
  }
  return all;
}

TEST(ClangTest, HasNoWarningForAnyKernel) {
  if (std::string(SALE_CLANG).empty()) {
    GTEST_SKIP() << "clang-19 is not installed";
  }
  const std::vector<KernelSpec> specs = kernels_to_lint(golden_archs());
  EXPECT_EQ(complaints(specs.size(), [&](std::size_t i) { return write_kernel(specs[i], "clang").string(); }), "");
}

TEST(ClangTest, OpensEveryTemplateByItself) {
  if (std::string(SALE_CLANG).empty()) {
    GTEST_SKIP() << "clang-19 is not installed";
  }
  const auto &files = embedded_templates();
  EXPECT_EQ(complaints(files.size(), [&](std::size_t i) { return std::string(files[i].path); }), "");
}

TEST(ClangTest, NamesTheTemplateAndItsLine) {
  if (std::string(SALE_CLANG).empty()) {
    GTEST_SKIP() << "clang-19 is not installed";
  }
  KernelSpec spec;
  spec.tile = default_tile(spec);
  const std::filesystem::path good = write_kernel(spec, "broken");
  std::ifstream file(good);
  std::string source{std::istreambuf_iterator<char>(file), {}};
  const std::string text = "using u8 = unsigned char;";
  ASSERT_NE(source.find(text), std::string::npos);
  source.replace(source.find(text), text.size(), "using u8 = unsigned chair;");
  const std::string broken = good.string() + ".broken.cu";
  std::ofstream(broken) << source;
  EXPECT_NE(complaints(1, [&](std::size_t) { return broken; }).find("device/types.cuh:5:"), std::string::npos);
}

} // namespace
} // namespace sale
