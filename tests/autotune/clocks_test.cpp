// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/clocks.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <set>

namespace sale::autotune {
namespace {

using Bools = std::vector<bool>;

TEST(DisturbedRounds, are_those_in_which_most_tiles_are_slow_at_once) {
  EXPECT_EQ(disturbed_rounds({{1.0, 2.0, 3.0}, {1.2, 2.4, 3.6}, {1.01, 2.0, 2.9}, {1.0, 2.01, 3.0}}),
            (Bools{false, true, false, false}));
}

TEST(DisturbedRounds, are_those_in_which_most_tiles_are_fast_at_once) {
  EXPECT_EQ(disturbed_rounds({{1.0, 2.0}, {0.8, 1.6}, {1.0, 2.0}}), (Bools{false, true, false}));
}

TEST(DisturbedRounds, are_not_those_in_which_one_of_many_is_off) {
  EXPECT_EQ(disturbed_rounds({{1.0, 2.0, 3.0}, {5.0, 2.0, 3.0}, {1.0, 2.0, 3.0}}), (Bools{false, false, false}));
  EXPECT_EQ(disturbed_rounds({{1.0, 2.0}, {5.0, 2.0}, {1.0, 2.0}}), (Bools{false, false, false})) << "half is not most";
}

TEST(DisturbedRounds, take_a_tenth_for_noise) {
  EXPECT_EQ(disturbed_rounds({{1.0}, {1.09}, {0.91}, {1.0}}), (Bools{false, false, false, false}));
}

TEST(DisturbedRounds, do_not_count_tiles_that_have_no_times) {
  EXPECT_EQ(disturbed_rounds({{1.0, 0.0}, {1.5, 0.0}, {1.0, 0.0}}), (Bools{false, true, false}));
}

TEST(DisturbedRounds, are_none_of_none) {
  EXPECT_TRUE(disturbed_rounds({}).empty());
  EXPECT_EQ(disturbed_rounds({{}, {}}), (Bools{false, false}));
}

// Rounds of one tile with these times, then none; in those that are in `slowed` the GPU says that it is slow.
TakenRounds rounds_of(std::size_t wanted, const std::vector<double> &times, const std::set<std::size_t> &slowed = {}) {
  std::size_t next = 0;
  return undisturbed_rounds(
      wanted,
      [&]() -> std::optional<RoundTimes> {
        return next < times.size() ? std::optional(RoundTimes{times[next++]}) : std::nullopt;
      },
      [&] { return slowed.contains(next - 1); });
}

TEST(UndisturbedRounds, are_as_many_as_are_wanted) {
  const TakenRounds taken = rounds_of(3, {1.0, 1.01, 1.02, 1.03, 1.04});
  EXPECT_EQ(taken.rounds, (std::vector<RoundTimes>{{1.0}, {1.01}, {1.02}}));
  EXPECT_EQ(taken.disturbed, 0);
}

TEST(UndisturbedRounds, replace_those_that_are_slow) {
  const TakenRounds taken = rounds_of(3, {1.0, 1.5, 1.02, 1.03, 1.04});
  EXPECT_EQ(taken.rounds, (std::vector<RoundTimes>{{1.0}, {1.02}, {1.03}}));
  EXPECT_EQ(taken.disturbed, 1);
}

TEST(UndisturbedRounds, replace_those_in_which_the_gpu_says_that_it_is_slow) {
  const TakenRounds taken = rounds_of(2, {1.0, 1.01, 1.02, 1.03}, {0});
  EXPECT_EQ(taken.rounds, (std::vector<RoundTimes>{{1.01}, {1.02}}));
  EXPECT_EQ(taken.disturbed, 1);
}

TEST(UndisturbedRounds, are_fewer_where_twice_as_many_do_not_suffice) {
  const TakenRounds taken = rounds_of(3, {1.0, 2.0, 1.0, 0.5, 1.0, 2.0, 1.0}, {4});
  EXPECT_EQ(taken.rounds, (std::vector<RoundTimes>{{1.0}, {1.0}}));
  EXPECT_EQ(taken.disturbed, 4);
}

TEST(UndisturbedRounds, are_all_where_every_round_is_disturbed) {
  const TakenRounds taken = rounds_of(2, {1.0, 1.0, 1.0, 1.0, 1.0}, {0, 1, 2, 3, 4});
  EXPECT_EQ(taken.rounds.size(), 4U);
  EXPECT_EQ(taken.disturbed, 4);
}

TEST(UndisturbedRounds, end_with_what_there_is) {
  EXPECT_EQ(rounds_of(3, {1.0, 1.5}).rounds.size(), 2U);
  EXPECT_TRUE(rounds_of(3, {}).rounds.empty());
  EXPECT_TRUE(rounds_of(0, {1.0}).rounds.empty());
}

class Clocks : public FakeMachine {
protected:
  Device device_{Driver::open(FAKE_CUDA), 0};
};

TEST_F(Clocks, are_those_of_the_devices_own_gpu) {
  auto *sm_mhz = fake_symbol<unsigned *>(FAKE_NVML, "fake_nvml_sm_mhz");
  GpuClocks clocks(device_, FAKE_NVML);
  EXPECT_EQ(clocks.driver_version(), "580.159.04");
  EXPECT_EQ(clocks.power_limit_watts(), 700);
  EXPECT_EQ(clocks.memory_mhz(), 2619);
  EXPECT_EQ(clocks.median_sm_mhz(), 0) << "no reading yet";
  for (const unsigned mhz : {1200U, 1980U, 1500U}) {
    *sm_mhz = mhz;
    EXPECT_FALSE(clocks.is_slowed());
  }
  EXPECT_EQ(clocks.median_sm_mhz(), 1500);
}

TEST_F(Clocks, fall_for_heat_and_supply_but_not_for_the_power_limit) {
  auto *reasons = fake_symbol<unsigned long long *>(FAKE_NVML, "fake_nvml_reasons");
  GpuClocks clocks(device_, FAKE_NVML);
  for (const unsigned long long slow : {0x8ULL, 0x20ULL, 0x40ULL, 0x80ULL, 0x24ULL}) {
    *reasons = slow;
    EXPECT_TRUE(clocks.is_slowed()) << slow;
  }
  for (const unsigned long long usual : {0x0ULL, 0x1ULL, 0x4ULL}) {
    *reasons = usual;
    EXPECT_FALSE(clocks.is_slowed()) << usual;
  }
}

TEST_F(Clocks, are_unknown_without_the_library) {
  GpuClocks clocks(device_, "/nonexistent/libnvidia-ml.so.1");
  EXPECT_FALSE(clocks.is_slowed());
  EXPECT_EQ(clocks.driver_version(), "");
  EXPECT_EQ(clocks.power_limit_watts(), 0);
  EXPECT_EQ(clocks.memory_mhz(), 0);
  EXPECT_EQ(clocks.median_sm_mhz(), 0);
}

} // namespace
} // namespace sale::autotune
