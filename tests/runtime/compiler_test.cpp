// SPDX-License-Identifier: Apache-2.0
#include "runtime/compiler.hpp"
#include "core/parallel_for.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <optional>

namespace sale {
namespace {

Compiler fake_compiler() { return Compiler(Nvrtc::open(locate_nvrtc(FAKE_NVRTC))); }

/// The machine's own NVRTC, if it has one.
std::optional<Compiler> real_compiler() {
  try {
    return Compiler(Nvrtc::open(locate_nvrtc({})));
  } catch (const Error &) {
    return std::nullopt;
  }
}

constexpr const char *kernel = "extern \"C\" __global__ void sale_test(float *x) {\n"
                               "  __shared__ float s[32]; s[threadIdx.x] = x[threadIdx.x];\n"
                               "  __syncthreads(); x[threadIdx.x] = s[31 - threadIdx.x]; }\n";

TEST(Compiler, AsksForMachineCodeOfTheRealArchitecture) {
  const CompiledKernel compiled = fake_compiler().compile("x", {9, 0}, BinaryKind::cubin, "spec");
  EXPECT_STREQ(reinterpret_cast<const char *>(compiled.binary.data()),
               "FAKE --gpu-architecture=sm_90 --std=c++17 --modify-stack-limit=false --ptxas-options=-v --no-cache");
  EXPECT_EQ(compiled.resources.registers, 40);
  EXPECT_EQ(compiled.resources.spill_bytes, 12);
  EXPECT_EQ(compiled.resources.static_shared_memory, 16);
}

TEST(Compiler, AsksForPtxOfTheVirtualArchitecture) {
  const CompiledKernel compiled = fake_compiler().compile("x", {8, 0}, BinaryKind::ptx, "spec");
  EXPECT_STREQ(reinterpret_cast<const char *>(compiled.binary.data()),
               "FAKE --gpu-architecture=compute_80 --std=c++17 --modify-stack-limit=false --no-cache");
}

TEST(Compiler, ReportsLogOptionsAndSpecOfAFailure) {
  const Error error =
      error_of([] { fake_compiler().compile("FAKE_ERROR", {9, 0}, BinaryKind::cubin, "attend sm_90"); });
  EXPECT_EQ(error.kind(), ErrorKind::compile);
  EXPECT_STREQ(error.what(), "nvrtcCompileProgram failed with NVRTC_ERROR_COMPILATION for attend sm_90: "
                             "sale_kernel.cu(1): error: FAKE_ERROR; this is a bug of libsale; please report it with "
                             "the output of `sale generate`");
  EXPECT_EQ(error.details().where, "nvrtcCompileProgram");
  EXPECT_EQ(error.details().log, "sale_kernel.cu(1): error: FAKE_ERROR\n");
  EXPECT_EQ(error.details().spec, "attend sm_90");
  EXPECT_NE(error.details().options.find("--gpu-architecture=sm_90"), std::string::npos);
}

TEST(Compiler, NamesTheArchitecturesThatNvrtcHas) {
  const Error error = error_of([] { fake_compiler().compile("x", {12, 0}, BinaryKind::cubin, "attend sm_120"); });
  EXPECT_EQ(error.kind(), ErrorKind::compile);
  EXPECT_NE(std::string(error.what()).find("does not compile for sm_120; it has sm_80, sm_89, sm_90"),
            std::string::npos);
}

TEST(Compiler, CompilesWithTheRealNvrtc) {
  const auto compiler = real_compiler();
  if (!compiler) {
    GTEST_SKIP() << "this machine has no NVRTC";
  }
  const CompiledKernel cubin = compiler->compile(kernel, {9, 0}, BinaryKind::cubin, "test");
  EXPECT_EQ(std::string(cubin.binary.begin(), cubin.binary.begin() + 4), "\177ELF");
  EXPECT_GT(cubin.resources.registers, 0);
  EXPECT_EQ(cubin.resources.static_shared_memory, 128);
  const CompiledKernel ptx = compiler->compile(kernel, {8, 0}, BinaryKind::ptx, "test");
  EXPECT_NE(std::string(ptx.binary.begin(), ptx.binary.end()).find(".entry sale_test"), std::string::npos);
}

TEST(Compiler, GivesTheSameBytesEveryTimeAndInParallel) {
  const auto compiler = real_compiler();
  if (!compiler) {
    GTEST_SKIP() << "this machine has no NVRTC";
  }
  std::vector<std::vector<unsigned char>> binaries(6);
  const auto compile = [&](std::int64_t i) {
    binaries[static_cast<std::size_t>(i)] = compiler->compile(kernel, {9, 0}, BinaryKind::cubin, "test").binary;
  };
  parallel_for(6, compile, 3);
  for (const auto &binary : binaries) {
    EXPECT_EQ(binary, binaries[0]);
  }
}

TEST(Compiler, QuotesTheRealCompilersFirstError) {
  const auto compiler = real_compiler();
  if (!compiler) {
    GTEST_SKIP() << "this machine has no NVRTC";
  }
  const Error error =
      error_of([&] { compiler->compile("__device__ int f() { return y; }", {9, 0}, BinaryKind::cubin, "test"); });
  EXPECT_NE(std::string(error.what()).find("sale_kernel.cu(1): error: identifier \"y\" is undefined"),
            std::string::npos);
}

} // namespace
} // namespace sale
