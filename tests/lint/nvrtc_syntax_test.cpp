// SPDX-License-Identifier: Apache-2.0
// NVRTC's front end accepts every kernel without a warning. It finds what clang does not, such as the widths of asm
// operands, in a tenth of the time of a compilation.
#include "core/parallel_for.hpp"
#include "generator/generate.hpp"
#include "generator/template_source.hpp"
#include "kernel_files.hpp"
#include "tests/kernels/golden_kernels.hpp"
#include "tests/support/any_nvrtc.hpp"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace sale {
namespace {

// What NVRTC says of the source; empty = nothing.
std::string complaints(const Nvrtc &nvrtc, const std::string &source, const Arch &arch) {
  const nvrtc::Api &api = nvrtc.api;
  nvrtc::Program program = nullptr;
  if (api.create(&program, source.c_str(), "kernel.cu", 0, nullptr, nullptr) != nvrtc::success) {
    return "nvrtcCreateProgram failed";
  }
  const std::string target = "--gpu-architecture=" + arch.name();
  const std::array options = {target.c_str(), "--std=c++17", "--fdevice-syntax-only"};
  const nvrtc::Result result = api.compile(program, static_cast<int>(options.size()), options.data());
  std::size_t bytes = 0;
  std::string log;
  if (api.log_size(program, &bytes) == nvrtc::success && bytes > 1) {
    log.resize(bytes);
    api.log(program, log.data());
    log.resize(bytes - 1);
  }
  api.destroy(&program);
  return result == nvrtc::success ? log : api.error_string(result) + (": " + log);
}

TEST(NvrtcSyntaxTest, HasNoWarningForAnyKernel) {
  const auto nvrtc = any_nvrtc();
  if (!nvrtc) {
    GTEST_SKIP() << "no NVRTC on this machine";
  }
  std::vector<Arch> archs = golden_archs();
  std::erase_if(archs, [&](const Arch &arch) { return !compiles_for(*nvrtc, arch); });
  const std::vector<KernelSpec> specs = kernels_to_lint(archs);
  std::vector<std::string> said(specs.size());
  parallel_for(static_cast<std::int64_t>(specs.size()), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    said[index] = complaints(*nvrtc, generate(specs[index]), specs[index].arch);
  });
  for (std::size_t i = 0; i < specs.size(); ++i) {
    EXPECT_EQ(said[i], "") << specs[i].describe();
  }
}

// Also those that no kernel uses yet.
TEST(NvrtcSyntaxTest, HasNoWarningForAnyTemplateByItself) {
  const auto nvrtc = any_nvrtc();
  if (!nvrtc) {
    GTEST_SKIP() << "no NVRTC on this machine";
  }
  for (const TemplateFile &file : embedded_templates()) {
    std::set<std::string, std::less<>> seen;
    EXPECT_EQ(complaints(*nvrtc, flatten_template(file.path, seen), Arch{9, 0}), "") << file.path;
  }
}

} // namespace
} // namespace sale
