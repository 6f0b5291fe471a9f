// SPDX-License-Identifier: Apache-2.0
// What NVRTC makes of generated kernels, beside goldens_test.cpp. Needs NVRTC, no GPU.
#include "generator/generate.hpp"
#include "runtime/compiler.hpp"
#include "sale/error.hpp"
#include "sale/sale.hpp"
#include "tests/support/any_nvrtc.hpp"

#include <gtest/gtest.h>

#include <filesystem>

namespace sale {
namespace {

TEST(CompileTest, TheKernelsOfLlamaCompileForEveryArchitectureAndNoneSpills) {
  const auto nvrtc = any_nvrtc();
  if (!nvrtc) {
    GTEST_SKIP() << "no NVRTC on this machine";
  }
  std::vector<std::string> archs;
  for (const Arch &arch : supported_archs()) {
    if (compiles_for(*nvrtc, arch)) {
      archs.push_back(arch.name());
    }
  }
  Options options;
  options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
  Serving serving;
  serving.counted = true;
  const std::vector<KernelInfo> infos = prewarm(archs, Problem{}, Policy{}, options, serving);
  ASSERT_GE(infos.size(), 4 * archs.size());
  for (const KernelInfo &info : infos) {
    EXPECT_EQ(info.spill_bytes, 0) << info.name;
    EXPECT_GT(info.registers, 0) << info.name;
  }
}

// The compiler's log for the source of a kernel in which `text` became `replacement`.
std::string log_of_broken(const std::string &text, const std::string &replacement) {
  KernelSpec spec;
  spec.tile = default_tile(spec);
  std::string source = generate(spec);
  const std::size_t at = source.find(text);
  if (at == std::string::npos) {
    throw std::runtime_error("the source has no " + text);
  }
  source.replace(at, text.size(), replacement);
  try {
    Compiler(any_nvrtc()).compile(source, spec.arch, BinaryKind::cubin, spec.describe());
  } catch (const Error &error) {
    return error.details().log;
  }
  return "it compiled";
}

TEST(CompileTest, AnErrorNamesTheTemplateAndItsLine) {
  if (!any_nvrtc()) {
    GTEST_SKIP() << "no NVRTC on this machine";
  }
  EXPECT_NE(log_of_broken("using u8 = unsigned char;", "using u8 = unsigned chair;").find("device/types.cuh(5): error"),
            std::string::npos);
  const std::string log = log_of_broken("::shared_bytes == ", "::shared_bytes == 1 + ");
  EXPECT_NE(log.find("sale_attend.cu("), std::string::npos) << log;
  EXPECT_NE(log.find("static assertion failed"), std::string::npos) << log;
}

} // namespace
} // namespace sale
