// SPDX-License-Identifier: Apache-2.0
// Modules and launches, with kernels small enough to read here.
#include "emulator/driver/emulator.h"
#include "tests/emulator/driver/emulated.hpp"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace sale {
namespace {

// As templates/device/ writes it: registers and memory through PTX.
constexpr const char *source = R"(// a comment that names the kernel
struct Args { unsigned *out; int count; };
__attribute__((device)) unsigned global_thread() {
  unsigned thread, block, threads;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
  asm volatile("mov.u32 %0, %%ntid.x;" : "=r"(threads));
  return block * threads + thread;
}
extern "C" __attribute__((global)) void fill(const Args args) {
  const unsigned i = global_thread();
  if (i < (unsigned)args.count) { args.out[i] = 3u * i; }
}
extern "C" __attribute__((global)) void beyond(const Args args) { args.out[args.count + (int)global_thread()] = 1u; }
)";

struct Args {
  unsigned *out;
  int count;
};

class EmulatedKernel : public Emulated {
protected:
  cu::Result load(const char *text, cu::Module *loaded) {
    std::array options = {cu::jit_error_log_buffer, cu::jit_error_log_buffer_bytes};
    std::array<void *, 2> values = {log.data(), reinterpret_cast<void *>(std::uintptr_t{log.size()})};
    return api.module_load(loaded, text, 2, options.data(), values.data());
  }
  void SetUp() override {
    ASSERT_EQ(load(source, &module), cu::success) << log.data();
    ASSERT_EQ(api.module_function(&fill, module, "fill"), cu::success);
    ASSERT_EQ(api.memory_allocate(&memory, 400), cu::success);
  }
  void TearDown() override {
    api.memory_free(memory);
    api.module_unload(module);
  }
  cu::Result launch(cu::Function function, unsigned blocks, unsigned threads, unsigned shared = 0) {
    Args args{reinterpret_cast<unsigned *>(memory), 100};
    void *arguments[] = {&args};
    return api.launch(function, blocks, 1, 1, threads, 1, 1, shared, nullptr, arguments, nullptr);
  }

  std::array<char, 4096> log{};
  cu::Module module = nullptr;
  cu::Function fill = nullptr;
  cu::Address memory = 0;
};

TEST_F(EmulatedKernel, RunsEveryThreadOfEveryBlock) {
  ASSERT_EQ(launch(fill, 4, 32), cu::success) << text_of(launch_failed);
  std::vector<unsigned> values(100);
  ASSERT_EQ(api.copy_to_host(values.data(), memory, 400), cu::success);
  for (unsigned i = 0; i < 100; ++i) {
    ASSERT_EQ(values[i], 3 * i);
  }
}

TEST_F(EmulatedKernel, ReportsAWriteBeyondAnAllocationWithItsThread) {
  cu::Function beyond = nullptr;
  ASSERT_EQ(api.module_function(&beyond, module, "beyond"), cu::success);
  ASSERT_EQ(launch(beyond, 1, 32), launch_failed);
  EXPECT_TRUE(has(text_of(launch_failed), "thread")) << text_of(launch_failed);
  void *library = ::dlopen(SALE_EMULATOR_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr);
  const auto report = reinterpret_cast<const char *(*)()>(::dlsym(library, "saleEmulatorReport"));
  EXPECT_EQ(text_of(launch_failed), report());
  EXPECT_EQ(launch(fill, 4, 32), cu::success) << "the device works on after a report";
}

TEST_F(EmulatedKernel, BecomesAnErrorWithTheReportAsItsLog) {
  cu::Function beyond = nullptr;
  ASSERT_EQ(api.module_function(&beyond, module, "beyond"), cu::success);
  try {
    driver->check(launch(beyond, 1, 32), "cuLaunchKernel");
    FAIL() << "no error";
  } catch (const Error &error) {
    EXPECT_TRUE(has(error.what(), "CUDA_ERROR_LAUNCH_FAILED"));
    EXPECT_FALSE(has(error.what(), "\n"));
    EXPECT_EQ(error.details().log, text_of(launch_failed));
  }
}

TEST_F(EmulatedKernel, IsAllowedAsMuchSharedMemoryAsItsArchitectureHas) {
  EXPECT_EQ(launch(fill, 1, 32, (48 << 10) + 4), invalid_value);
  EXPECT_EQ(api.function_set(fill, cu::max_dynamic_shared_memory, 227 << 10), cu::success);
  EXPECT_EQ(launch(fill, 1, 32, (48 << 10) + 4), cu::success);
  EXPECT_EQ(api.function_set(fill, cu::max_dynamic_shared_memory, (227 << 10) + 1), invalid_value);
}

TEST_F(EmulatedKernel, RefusesImpossibleLaunches) {
  EXPECT_EQ(launch(fill, 0, 32), invalid_value);
  EXPECT_EQ(launch(fill, 1, 0), invalid_value);
  EXPECT_EQ(launch(fill, 1, 1025), invalid_value);
}

TEST_F(EmulatedKernel, SaysWhatIsWrongWithSourceThatDoesNotCompile) {
  cu::Module none = nullptr;
  EXPECT_EQ(load("extern \"C\" __attribute__((global)) void k() { undeclared(); }", &none), invalid_source);
  EXPECT_TRUE(has(log.data(), "undeclared")) << log.data();
  EXPECT_EQ(api.module_function(&fill, module, "missing"), 500);
}

TEST_F(EmulatedKernel, TriesAgainAfterACompilerThatIsMissing) {
  constexpr const char *text = "extern \"C\" __attribute__((global)) void tried_again() {}";
  cu::Module again = nullptr;
  ASSERT_EQ(::setenv("SALE_CLANG", "/nonexistent/clang", 1), 0);
  EXPECT_EQ(load(text, &again), invalid_source);
  ::unsetenv("SALE_CLANG");
  EXPECT_TRUE(has(log.data(), "cannot run /nonexistent/clang")) << log.data();
  EXPECT_TRUE(has(log.data(), "install the package clang-19")) << log.data();
  ASSERT_EQ(load(text, &again), cu::success) << log.data();
  EXPECT_EQ(api.module_unload(again), cu::success);
}

TEST_F(EmulatedKernel, RefusesACubin) {
  cu::Module none = nullptr;
  EXPECT_EQ(load("\x7f"
                 "ELF",
                 &none),
            200);
  EXPECT_TRUE(has(log.data(), "CUDA source"));
}

} // namespace
} // namespace sale
