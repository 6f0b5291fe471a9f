// SPDX-License-Identifier: Apache-2.0
// What ends a build before its time: Options::cancelled, and a compile's deadline.
#include "core/parallel_for.hpp"
#include "generator/generate.hpp"
#include "runtime/kernel_factory.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace sale {
namespace {

namespace fs = std::filesystem;

/// Longer than any test: what is not ended shows.
constexpr int forever = 20000;

class CompileEnd : public FakeMachine {
protected:
  std::vector<fs::path> files_left() const {
    std::vector<fs::path> files;
    for (const char *folder : {"cache/kernels", "cache/locks"}) {
      std::error_code absent;
      for (const auto &file : fs::directory_iterator(folder_.path() / folder, absent)) {
        files.push_back(file.path());
      }
    }
    return files;
  }
};

TEST_F(CompileEnd, CompilesNothingWhenCancelledFromTheStart) {
  Options with = options();
  with.cancelled = [] { return true; };
  const int compiles = fake_compiles();
  EXPECT_EQ(error_of([&] { prewarm({"sm_90"}, {}, {}, with); }).kind(), ErrorKind::cancelled);
  EXPECT_EQ(error_of([&] { Engine(0, with).prepare({}, {}); }).kind(), ErrorKind::cancelled);
  EXPECT_EQ(fake_compiles(), compiles);
}

TEST_F(CompileEnd, EndsCompilesThatRunWhenCancelled) {
  fake_compiles_take(forever);
  Options with = options();
  const int ended = fake_compiles_ended_early();
  const int compiles = fake_compiles();
  with.cancelled = [&] { return fake_compiles() >= compiles + 2; };
  EXPECT_EQ(error_of([&] { prewarm({"sm_90"}, {}, {}, with); }).kind(), ErrorKind::cancelled);
  EXPECT_EQ(fake_compiles_ended_early(), ended + 2);
  EXPECT_TRUE(files_left().empty());
  fake_compiles_take(0);
  EXPECT_EQ(prewarm({"sm_90"}, {}, {}, options()).size(), 6U);
}

TEST_F(CompileEnd, KeepsWhatWasDoneBeforeItWasCancelled) {
  Options with = options();
  with.jobs = 1;
  std::atomic<int> done{0};
  with.progress = [&](const KernelInfo &, int count, int) { done = count; };
  with.cancelled = [&] { return done == 2; };
  EXPECT_EQ(error_of([&] { prewarm({"sm_90"}, {}, {}, with); }).kind(), ErrorKind::cancelled);
  EXPECT_EQ(files_left().size(), 2U);
}

TEST_F(CompileEnd, AsksBetweenKernelsWhereNvrtcHasNoFlowCallback) {
  Options with = options();
  with.nvrtc = FAKE_NVRTC_NEWER;
  with.compile_seconds = 1e-9; // nobody looks
  with.jobs = 1;
  std::atomic<int> done{0};
  with.progress = [&](const KernelInfo &, int count, int) { done = count; };
  with.cancelled = [&] { return done == 3; };
  EXPECT_EQ(error_of([&] { prewarm({"sm_90"}, {}, {}, with); }).kind(), ErrorKind::cancelled);
  EXPECT_EQ(files_left().size(), 3U);
}

TEST_F(CompileEnd, PassesOnWhatTheQuestionThrows) {
  fake_compiles_take(forever);
  Options with = options();
  const int compiles = fake_compiles();
  with.cancelled = [&]() -> bool {
    if (fake_compiles() > compiles) {
      throw std::runtime_error("interrupted");
    }
    return false;
  };
  EXPECT_THROW(prewarm({"sm_90"}, {}, {}, with), std::runtime_error);
}

TEST_F(CompileEnd, EndsACompileAtItsDeadline) {
  fake_compiles_take(forever);
  Options with = options();
  with.compile_seconds = 0.05;
  const Error error = error_of([&] { prewarm({"sm_90"}, {}, {}, with); });
  EXPECT_EQ(error.kind(), ErrorKind::compile);
  EXPECT_NE(std::string(error.what()).find(" sm_90 bf16 d128"), std::string::npos);
  EXPECT_NE(std::string(error.what()).find("took longer than its deadline of 0.05 s; raise the deadline"),
            std::string::npos);
  EXPECT_EQ(error.details().where, "nvrtcCompileProgram");
  EXPECT_TRUE(files_left().empty());
}

TEST_F(CompileEnd, LetsACompileFinishThatKeepsItsDeadline) {
  fake_compiles_take(5);
  Options with = options();
  with.compile_seconds = 60;
  EXPECT_EQ(prewarm({"sm_90"}, {}, {}, with).size(), 6U);
}

TEST_F(CompileEnd, CancelsOneEngineAndNotTheOtherThatWaitsForTheSameKernel) {
  fake_compiles_take(100);
  Options impatient = options();
  const int compiles = fake_compiles();
  impatient.cancelled = [&] { return fake_compiles() > compiles; };
  const KernelRequest request{KernelSpec{.tile = default_tile({})}, BinaryKind::cubin};
  const KernelFactory first(impatient);
  const KernelFactory second(options());
  std::atomic<int> built{0};
  parallel_for(
      2,
      [&](std::int64_t i) {
        try {
          (i == 0 ? first : second).build({request});
          ++built;
        } catch (const Error &error) {
          EXPECT_EQ(error.kind(), ErrorKind::cancelled);
          EXPECT_EQ(i, 0);
        }
      },
      2);
  EXPECT_GE(built, 1);
}

TEST_F(CompileEnd, RunsNoMoreCompilesAtOnceThanAsked) {
  fake_compiles_take(10);
  Options with = options();
  with.jobs = 3;
  prewarm({"sm_80", "sm_90"}, {}, {}, with);
  EXPECT_LE(fake_compiles_at_once(), 3);
  EXPECT_GE(fake_compiles_at_once(), 1);
}

} // namespace
} // namespace sale
