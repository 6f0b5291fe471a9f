// SPDX-License-Identifier: Apache-2.0
// What a measurement asks of the device, on one that only records.
#include "bench/benchmark.hpp"
#include "bench/input.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace sale::bench {
namespace {

class Benchmark : public FakeMachine {
protected:
  Benchmark() {
    problem_.num_q_heads = 2;
    problem_.num_kv_heads = 1;
    problem_.head_dim = 64;
    settings_.rounds = 3;
    settings_.warmups = 2;
    settings_.masks = {parse_mask("random:0.5")};
  }

  Section run(const std::vector<Policy> &policies) {
    const auto device = std::make_shared<const Device>(Driver::open(FAKE_CUDA), 0);
    const CurrentContext current(*device);
    const Engine engine(0, options());
    return measure(device, engine, settings_, policies, "input", make_input(problem_, {1, 256, 256}, std::nullopt));
  }

  // Kernels launched so far, in order.
  std::vector<std::string> launches() const {
    std::vector<std::string> names;
    for (const FakeCall &call : fake_cuda().calls) {
      if (call.name == "cuLaunchKernel") {
        names.push_back(call.kernel);
      }
    }
    return names;
  }

  Problem problem_;
  Settings settings_;
};

TEST_F(Benchmark, measures_everything_once_per_round_in_the_same_order) {
  std::vector<std::vector<std::string>> rounds;
  std::size_t seen = 0;
  const auto take_round = [&] {
    const auto all = launches();
    rounds.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(seen), all.end());
    seen = all.size();
  };
  settings_.before_round = [&](const Section &, int round) {
    EXPECT_EQ(round, static_cast<int>(rounds.size()));
    take_round();
  };
  const Section section = run({Policy{}});
  take_round();
  ASSERT_EQ(rounds.size(), 4U) << "what came before the first counted round, and three rounds";
  // dense; the whole method; its stages; attend with a mask
  const std::vector<std::string> one_round = {"sale_attend",  "sale_mean",   "sale_quantize", "sale_prepare",
                                              "sale_select",  "sale_attend", "sale_mean",     "sale_quantize",
                                              "sale_prepare", "sale_select", "sale_attend",   "sale_attend"};
  for (std::size_t round = 1; round < rounds.size(); ++round) {
    EXPECT_EQ(rounds[round], one_round) << round;
  }
  EXPECT_GT(rounds[0].size(), 2 * one_round.size()) << "two warm-ups, and one call of each for its output";

  ASSERT_EQ(section.rows.size(), 3U);
  for (const Row &row : section.rows) {
    EXPECT_EQ(row.ms.values().size(), 3U) << row.name();
  }
  EXPECT_EQ(section.rows[1].stage_total_ms.values().size(), 3U);
  EXPECT_EQ(section.left_out, "");
}

TEST_F(Benchmark, writes_over_the_cache_before_each_measurement_and_outside_its_events) {
  settings_.masks.clear();
  settings_.sale = false;
  settings_.stages = false;
  settings_.flush_bytes = 4096;
  run({Policy{}});
  std::vector<std::string> order;
  for (const FakeCall &call : fake_cuda().calls) {
    if (call.name == "cuMemsetD32Async" || call.name == "cuLaunchKernel" || call.name == "cuEventRecord") {
      order.push_back(call.name);
    }
  }
  const std::vector<std::string> one = {"cuMemsetD32Async", "cuEventRecord", "cuLaunchKernel", "cuEventRecord"};
  ASSERT_GE(order.size(), 5 * one.size());
  for (std::size_t i = 0; i < 5 * one.size(); ++i) {
    EXPECT_EQ(order[order.size() - 5 * one.size() + i], one[i % one.size()]) << i;
  }
}

TEST_F(Benchmark, leaves_out_what_does_not_fit_and_says_so) {
  run({Policy{}});
  const auto &calls = fake_cuda().calls;
  const auto allocations =
      std::count_if(calls.begin(), calls.end(), [](const FakeCall &call) { return call.name == "cuMemAlloc_v2"; });
  fake_cuda() = FakeState();
  fake_cuda().fail_call = "cuMemAlloc_v2";
  fake_cuda().fail_result = 2;
  fake_cuda().fail_after = static_cast<int>(allocations) - 1; // the last one
  const Section section = run({Policy{}});
  EXPECT_NE(section.left_out.find("more than the device has free"), std::string::npos) << section.left_out;
  EXPECT_TRUE(section.rows.empty());
  EXPECT_EQ(fake_cuda().live_bytes, 0U) << "what was allocated is given back";
}

TEST_F(Benchmark, other_failures_are_errors) {
  fake_cuda().fail_call = "cuLaunchKernel";
  fake_cuda().fail_result = 719;
  EXPECT_EQ(error_of([&] { run({Policy{}}); }).kind(), ErrorKind::launch);
}

} // namespace
} // namespace sale::bench
