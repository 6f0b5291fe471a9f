// SPDX-License-Identifier: Apache-2.0
// `sale tune-worker` on a driver that only records; every stage takes 1 ms there.
#include "autotune/measure/worker_measurer.hpp"
#include "generator/generate.hpp"
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace sale::cli_test {
namespace {

using namespace autotune;

class TuneWorker : public ::testing::Test {
protected:
  TuneWorker() {
    task_.problem.num_q_heads = 2;
    task_.problem.num_kv_heads = 1;
    task_.problem.head_dim = 64;
    task_.tokens = 256;
    for (const KernelSpec &spec : plan_kernels(task_.problem, task_.policy, parse_arch("sm_90"))) {
      if (spec.stage == Stage::select) {
        task_.kernel = spec;
      }
    }
    tiles_.assign(2, task_.kernel.tile);
    tiles_[0].keys_per_step = 64;
    tiles_[1].keys_per_step = 32;
    ::unsetenv("SALE_TUNE_FAULT");
  }
  ~TuneWorker() override { ::unsetenv("SALE_TUNE_FAULT"); }

  WorkerOptions options() const {
    WorkerOptions with;
    with.program = SALE_COMMAND;
    with.arguments = {"tune-worker", "--arch",   "sm_90",       "--cuda-driver",        FAKE_CUDA,
                      "--nvrtc",     FAKE_NVRTC, "--cache-dir", folder_.path().string()};
    return with;
  }
  static std::string name_of(const Tile &tile) {
    return std::to_string(tile.rows_per_warp) + "x" + std::to_string(tile.warps) + "/" +
           std::to_string(tile.keys_per_step) + "/" + std::to_string(tile.stages) + "/" + std::to_string(tile.min_ctas);
  }
  static std::string message_of(const std::function<void()> &action) {
    try {
      action();
    } catch (const Error &error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  TemporaryFolder folder_;
  Task task_;
  std::vector<Tile> tiles_;
};

TEST_F(TuneWorker, measures_on_the_device_that_it_is_given) {
  WorkerMeasurer measurer(options());
  EXPECT_EQ(measurer.gpu().name, "Fake GPU");
  EXPECT_EQ(measurer.gpu().multiprocessors, 132);
  const Rounds rounds = measurer.measure(task_, tiles_, 3);
  for (const Measurement &tile : rounds.of) {
    EXPECT_EQ(tile.outcome, Outcome::good) << tile.why;
    EXPECT_EQ(tile.ms, std::vector<double>(3, 1.0));
  }
  EXPECT_TRUE(measurer.facts().contains("cuda"));
  EXPECT_EQ(measurer.restarts(), 0);
}

TEST_F(TuneWorker, loses_a_tile_that_ends_it_on_request) {
  ::setenv("SALE_TUNE_FAULT", ("crash:" + name_of(tiles_[1])).c_str(), 1);
  WorkerMeasurer measurer(options());
  const Rounds rounds = measurer.measure(task_, tiles_, 2);
  EXPECT_EQ(rounds.of[0].ms, std::vector<double>(2, 1.0)) << rounds.of[0].why;
  EXPECT_EQ(rounds.of[1].outcome, Outcome::failed);
  EXPECT_EQ(rounds.of[1].why, "its process ended with signal 6 (Aborted)");
  EXPECT_EQ(measurer.restarts(), 1);
}

TEST_F(TuneWorker, calls_a_tile_wrong_on_request) {
  ::setenv("SALE_TUNE_FAULT", ("wrong:" + name_of(tiles_[1])).c_str(), 1);
  WorkerMeasurer measurer(options());
  EXPECT_EQ(measurer.measure(task_, tiles_, 2).of[1].outcome, Outcome::wrong);
  EXPECT_EQ(measurer.restarts(), 0);
}

TEST_F(TuneWorker, says_why_it_cannot_work) {
  ::setenv("SALE_TUNE_FAULT", "hang:16x8", 1);
  WorkerMeasurer faulty(options());
  const std::string fault = message_of([&] { faulty.gpu(); });
  EXPECT_NE(fault.find("SALE_TUNE_FAULT is \"hang:16x8\", which is not like hang:16x8/128/3/1"), std::string::npos)
      << fault;
  ::unsetenv("SALE_TUNE_FAULT");

  WorkerOptions no_gpu = options();
  no_gpu.arguments[4] = "/no/such/libcuda.so";
  WorkerMeasurer measurer(no_gpu);
  const std::string driver = message_of([&] { measurer.gpu(); });
  EXPECT_NE(driver.find("exit code 1: sale: "), std::string::npos) << driver;
  EXPECT_NE(driver.find("/no/such/libcuda.so"), std::string::npos) << driver;
}

TEST_F(TuneWorker, is_not_shown_to_people_and_ends_with_its_input) {
  EXPECT_EQ(run_sale({"--help"}).out.find("tune-worker"), std::string::npos);
  const CommandResult result = run_sale(
      {"tune-worker", "--cuda-driver", FAKE_CUDA, "--nvrtc", FAKE_NVRTC, "--cache-dir", folder_.path().string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
}

} // namespace
} // namespace sale::cli_test
