// SPDX-License-Identifier: Apache-2.0
#include "autotune/model/micro_benchmark.hpp"
#include "runtime/compiler.hpp"
#include "tests/support/any_nvrtc.hpp"

#include <gtest/gtest.h>

namespace sale::autotune {
namespace {

TEST(MicroBenchmark, CompilesForEveryArchitecture) {
  const std::shared_ptr<const Nvrtc> nvrtc = any_nvrtc();
  if (nvrtc == nullptr) {
    GTEST_SKIP() << "there is no NVRTC on this machine";
  }
  const Compiler compiler(nvrtc);
  for (const Arch &arch : supported_archs()) {
    if (!compiles_for(*nvrtc, arch)) {
      continue;
    }
    const CompiledKernel compiled =
        compiler.compile(micro_benchmark_source(arch), arch, BinaryKind::cubin, "micro-benchmarks");
    EXPECT_EQ(compiled.resources.spill_bytes, 0) << arch.name();
    EXPECT_FALSE(compiled.binary.empty());
  }
}

} // namespace
} // namespace sale::autotune
