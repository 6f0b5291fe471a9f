// SPDX-License-Identifier: Apache-2.0
// What a measurement asks of the driver, on one that only records; every stage takes 1 ms there.
#include "autotune/measure/gpu_measurer.hpp"
#include "generator/generate.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>
#include <set>

#include <algorithm>

namespace sale::autotune {
namespace {

constexpr int launch_failed = 719;

class FakeMeasurer : public FakeMachine {
protected:
  FakeMeasurer() {
    settings_.flush_bytes = 4096;
    settings_.warmup_seconds = 0;
    task_.problem.num_q_heads = 2;
    task_.problem.num_kv_heads = 1;
    task_.problem.head_dim = 64;
    task_.tokens = 256;
    for (const KernelSpec &spec : plan_kernels(task_.problem, task_.policy, parse_arch("sm_90"))) {
      if (spec.stage == Stage::select) {
        task_.kernel = spec;
      }
    }
    for (const int keys : {32, 64, 128}) {
      tiles_.push_back(task_.kernel.tile);
      tiles_.back().keys_per_step = keys;
    }
  }

  Options fake_options() {
    Options with = options();
    with.arch = "sm_90";
    return with;
  }
  // Which tiles' kernels were launched, by their shared memory; flushes as -1.
  std::vector<int> enqueued() const {
    std::vector<int> order;
    for (const FakeCall &call : fake_cuda().calls) {
      if (call.kernel == "sale_select") {
        for (std::size_t i = 0; i < tiles_.size(); ++i) {
          KernelSpec spec = task_.kernel;
          spec.tile = tiles_[i];
          if (static_cast<unsigned>(spec.shared_memory()) == call.shared) {
            order.push_back(static_cast<int>(i));
          }
        }
      }
    }
    return order;
  }
  static long count(const std::string &name) {
    const auto &calls = fake_cuda().calls;
    return std::count_if(calls.begin(), calls.end(), [&](const FakeCall &call) { return call.name == name; });
  }

  MeasureSettings settings_;
  Task task_;
  std::vector<Tile> tiles_;
};

TEST_F(FakeMeasurer, measures_each_tile_once_a_round_in_another_order) {
  GpuMeasurer measurer(0, fake_options(), settings_);
  measurer.measure(task_, tiles_, 1); // loads, compares
  fake_cuda().calls.clear();
  const Rounds rounds = measurer.measure(task_, tiles_, 12);
  const std::vector<int> order = enqueued();
  ASSERT_EQ(order.size(), 3U * (1 + 12)) << "a round to warm up, then twelve; nothing is compared again";
  std::set<std::vector<int>> orders;
  for (auto round = order.begin(); round != order.end(); round += 3) {
    std::vector<int> of_round(round, round + 3);
    orders.insert(of_round);
    std::sort(of_round.begin(), of_round.end());
    EXPECT_EQ(of_round, (std::vector<int>{0, 1, 2}));
  }
  EXPECT_GE(orders.size(), 4U) << "who comes after whom must change";
  EXPECT_EQ(rounds.disturbed, 0);
  ASSERT_EQ(rounds.of.size(), 3U);
  for (const Measurement &tile : rounds.of) {
    EXPECT_EQ(tile.outcome, Outcome::good) << tile.why;
    EXPECT_EQ(tile.ms, std::vector<double>(12, 1.0)) << "of select alone";
  }
}

TEST_F(FakeMeasurer, says_what_it_is_about_to_do) {
  GpuMeasurer measurer(0, fake_options(), settings_);
  std::vector<std::pair<Work, int>> steps;
  measurer.listen([&](const Step &step) { steps.emplace_back(step.work, step.tile); });
  const std::vector<Tile> two = {tiles_[0], tiles_[1]};
  measurer.measure(task_, two, 1);
  using Steps = std::vector<std::pair<Work, int>>;
  ASSERT_EQ(steps.size(), 9U);
  std::sort(steps.end() - 4, steps.end() - 2); // a round's order is its own
  std::sort(steps.end() - 2, steps.end());
  EXPECT_EQ(steps, (Steps{{Work::data, -1},
                          {Work::load, 0},
                          {Work::run, 0},
                          {Work::load, 1},
                          {Work::run, 1},
                          {Work::run, 0},
                          {Work::run, 1},
                          {Work::run, 0},
                          {Work::run, 1}}))
      << "compared, warm, measured";
  steps.clear();
  measurer.check(task_, two[1]);
  EXPECT_EQ(steps, (Steps{{Work::load, 0}, {Work::run, 0}, {Work::oracle, 0}}));
}

TEST_F(FakeMeasurer, writes_over_the_cache_before_each_sample) {
  GpuMeasurer measurer(0, fake_options(), settings_);
  measurer.measure(task_, tiles_, 1);
  fake_cuda().calls.clear();
  measurer.measure(task_, tiles_, 2);
  std::vector<std::string> order;
  for (const FakeCall &call : fake_cuda().calls) {
    if (call.name == "cuMemsetD32Async" || call.name == "cuLaunchKernel" || call.name == "cuEventRecord") {
      order.push_back(call.kernel.empty() ? call.name : call.kernel);
    }
  }
  const std::vector<std::string> sample = {"cuMemsetD32Async", "cuEventRecord", "cuMemsetD32Async", "sale_mean",
                                           "cuEventRecord",    "sale_quantize", "cuEventRecord",    "sale_prepare",
                                           "cuEventRecord",    "sale_select",   "cuEventRecord"};
  ASSERT_EQ(order.size(), 9 * sample.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(order[i], sample[i % sample.size()]) << i;
  }
}

TEST_F(FakeMeasurer, finds_a_tile_that_writes_nothing_wrong) {
  for (const KernelSpec &spec : plan_kernels(task_.problem, task_.policy, parse_arch("sm_90"))) {
    if (spec.stage == Stage::attend && spec.dense) {
      task_.kernel = spec;
    }
  }
  GpuMeasurer measurer(0, fake_options(), settings_);
  const Rounds rounds = measurer.measure(task_, {task_.kernel.tile}, 2);
  EXPECT_EQ(rounds.of[0].outcome, Outcome::wrong) << "the fake computes nothing, so the output is still poisoned";
  EXPECT_TRUE(rounds.of[0].ms.empty());
}

TEST_F(FakeMeasurer, notes_a_tile_that_fails_and_goes_on_with_the_others) {
  GpuMeasurer measurer(0, fake_options(), settings_);
  Tile impossible = tiles_[1];
  impossible.keys_per_step = 24;
  const Rounds rounds = measurer.measure(task_, {tiles_[0], impossible, tiles_[2]}, 3);
  EXPECT_EQ(rounds.of[0].ms.size(), 3U);
  EXPECT_EQ(rounds.of[1].outcome, Outcome::failed);
  EXPECT_NE(rounds.of[1].why.find("keys_per_step"), std::string::npos) << rounds.of[1].why;
  EXPECT_TRUE(rounds.of[1].ms.empty());
  EXPECT_EQ(rounds.of[2].ms.size(), 3U);
  EXPECT_FALSE(measurer.poisoned());
}

TEST_F(FakeMeasurer, says_that_it_is_poisoned_and_does_nothing_more) {
  GpuMeasurer measurer(0, fake_options(), settings_);
  measurer.measure(task_, tiles_, 1);
  fake_cuda().fail_call = "cuStreamSynchronize";
  fake_cuda().fail_result = launch_failed;
  const Measurement checked = measurer.check(task_, tiles_[0]);
  EXPECT_EQ(checked.outcome, Outcome::failed) << checked.why;
  EXPECT_TRUE(measurer.poisoned());
  fake_cuda().calls.clear();
  EXPECT_NE(std::string(error_of([&] { measurer.measure(task_, tiles_, 1); }).what()).find("go on in a new process"),
            std::string::npos);
  EXPECT_EQ(error_of([&] { measurer.check(task_, tiles_[0]); }).kind(), ErrorKind::launch);
  EXPECT_EQ(count("cuLaunchKernel"), 0);
}

TEST_F(FakeMeasurer, says_that_a_length_does_not_fit_and_gives_memory_back) {
  GpuMeasurer measurer(0, fake_options(), settings_);
  fake_cuda().fail_call = "cuMemAlloc_v2";
  fake_cuda().fail_result = 2;
  const Error error = error_of([&] { measurer.measure(task_, tiles_, 1); });
  EXPECT_EQ(error.kind(), ErrorKind::load);
  EXPECT_NE(std::string(error.what()).find("calls of 256 tokens need 0.0 GiB, more than the device has free"),
            std::string::npos)
      << error.what();
  fake_cuda().fail_call.clear();
  EXPECT_EQ(measurer.measure(task_, tiles_, 1).of[0].ms.size(), 1U) << "another may fit";
}

TEST_F(FakeMeasurer, refuses_tasks_of_another_architecture) {
  GpuMeasurer measurer(0, fake_options(), settings_);
  task_.kernel.arch = parse_arch("sm_80");
  EXPECT_NE(std::string(error_of([&] { measurer.measure(task_, tiles_, 1); }).what())
                .find("the task's kernels are for sm_80, but the device's are for sm_90"),
            std::string::npos);
}

TEST_F(FakeMeasurer, knows_its_gpu) {
  GpuMeasurer measurer(0, fake_options(), settings_);
  EXPECT_EQ(measurer.gpu().name, "Fake GPU");
  EXPECT_EQ(measurer.gpu().multiprocessors, 132);
  const TuningFacts facts = measurer.facts();
  EXPECT_EQ(facts.at("l2_bytes"), "132");
  EXPECT_TRUE(facts.contains("cuda"));
  EXPECT_TRUE(facts.contains("nvrtc"));
}

} // namespace
} // namespace sale::autotune
