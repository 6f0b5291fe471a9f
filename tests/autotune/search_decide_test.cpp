// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/decide.hpp"
#include "autotune/search/noise.hpp"
#include "tests/autotune/simulated_measurer.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>

namespace sale::autotune {
namespace {

std::vector<Candidate> twelve() {
  std::vector<Candidate> candidates = {candidate(128, 3)};
  for (const int keys : {64, 96, 160, 192}) {
    for (const int stages : {2, 3, 4}) {
      candidates.push_back(candidate(keys, stages));
    }
  }
  return candidates;
}

SearchSettings quick() {
  SearchSettings settings;
  settings.task_seconds = 0; // the least rounds
  return settings;
}

TEST(Decide, TakesTheFastest) {
  SimulatedMeasurer measurer(1);
  measurer.true_ms = [](const Task &, const Tile &tile) {
    return tile.keys_per_step == 160 && tile.stages == 4 ? 0.9 : 1.0 + tile.stages * 0.01;
  };
  const Decision decision = decide(Task(), twelve(), measurer, quick());
  EXPECT_FALSE(decision.is_default);
  EXPECT_EQ(decision.tile.keys_per_step, 160);
  EXPECT_EQ(decision.tile.stages, 4);
  EXPECT_NEAR(decision.ratio, 0.9 / 1.03, 0.01);
  EXPECT_NEAR(decision.default_ms / decision.best_ms, 1.03 / 0.9, 0.02);
  EXPECT_EQ(measurer.checked.size(), 1U);
  EXPECT_EQ(decision.candidates.size(), 13U);
  for (const CandidateResult &result : decision.candidates) {
    EXPECT_GT(result.first_ms, 0);
    EXPECT_EQ(result.outcome, Outcome::good);
  }
}

TEST(Decide, KeepsTheDefaultWhereNothingIsFasterBeyondNoise) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SimulatedMeasurer measurer(seed);
    const Decision decision = decide(Task(), twelve(), measurer, quick());
    EXPECT_TRUE(decision.is_default) << "seed " << seed << ", ratio " << decision.ratio;
    EXPECT_EQ(decision.ratio, 1);
  }
}

TEST(Decide, EndsEarlyWhereAllAreSlower) {
  SimulatedMeasurer measurer(2);
  measurer.true_ms = [](const Task &, const Tile &tile) { return tile.keys_per_step == 128 ? 1.0 : 1.2; };
  const Decision decision = decide(Task(), twelve(), measurer, quick());
  EXPECT_TRUE(decision.is_default);
  EXPECT_NEAR(decision.default_ms, 1, 0.05);
  EXPECT_EQ(measurer.calls, 2) << "a look, and one halving";
}

TEST(Decide, OfEqualsTheFirstWins) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SimulatedMeasurer measurer(seed);
    measurer.noise = 0.001;
    measurer.true_ms = [](const Task &, const Tile &tile) { return tile.keys_per_step == 160 ? 0.9 : 1.0; };
    const Decision decision = decide(Task(), twelve(), measurer, quick());
    EXPECT_EQ(decision.tile.keys_per_step, 160);
    EXPECT_EQ(decision.tile.stages, 2) << "seed " << seed;
  }
}

TEST(Decide, AWrongWinnerIsPassedOver) {
  SimulatedMeasurer measurer(3);
  measurer.true_ms = [](const Task &, const Tile &tile) {
    return tile.keys_per_step == 160 ? 0.8 : (tile.keys_per_step == 96 ? 0.9 : 1.0);
  };
  for (const int stages : {2, 3, 4}) {
    measurer.wrong.insert(SimulatedMeasurer::name(candidate(160, stages).tile));
  }
  SearchSettings settings = quick();
  settings.finalists = 6;
  const Decision decision = decide(Task(), twelve(), measurer, settings);
  EXPECT_EQ(decision.tile.keys_per_step, 96);
  EXPECT_EQ(std::count_if(decision.candidates.begin(), decision.candidates.end(),
                          [](const CandidateResult &of) {
                            return of.outcome == Outcome::wrong && of.why == "3 mask bits differ";
                          }),
            3);
}

TEST(Decide, TilesThatFailAreKeptWithTheirReason) {
  SimulatedMeasurer measurer(4);
  measurer.true_ms = [](const Task &, const Tile &tile) { return tile.keys_per_step == 160 ? 0.8 : 1.0; };
  measurer.fails[SimulatedMeasurer::name(candidate(160, 2).tile)] = Outcome::hung;
  measurer.fails[SimulatedMeasurer::name(candidate(160, 3).tile)] = Outcome::failed;
  const Decision decision = decide(Task(), twelve(), measurer, quick());
  EXPECT_EQ(decision.tile, candidate(160, 4).tile);
  std::map<Outcome, int> outcomes;
  for (const CandidateResult &of : decision.candidates) {
    ++outcomes[of.outcome];
  }
  EXPECT_EQ(outcomes[Outcome::hung], 1);
  EXPECT_EQ(outcomes[Outcome::failed], 1);
}

TEST(Decide, WithoutItsDefaultNothingCanBeCompared) {
  SimulatedMeasurer measurer(5);
  measurer.fails[SimulatedMeasurer::name(candidate(128, 3).tile)] = Outcome::failed;
  try {
    decide(Task(), twelve(), measurer, quick());
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::load);
    EXPECT_NE(std::string(error.what()).find("as the test wants it"), std::string::npos);
  }
}

TEST(Decide, ACancelledOneEndsBetweenSteps) {
  SimulatedMeasurer measurer(6);
  int asked = 0;
  try {
    decide(Task(), twelve(), measurer, quick(), {}, [&] { return ++asked > 1; });
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
  EXPECT_EQ(measurer.calls, 1);
}

TEST(Decide, ShortKernelsGetMoreRoundsThanLongOnes) {
  const auto rounds_at = [](double ms) {
    SimulatedMeasurer measurer(7);
    measurer.true_ms = [&](const Task &, const Tile &tile) { return tile.keys_per_step == 160 ? 0.9 * ms : ms; };
    return decide(Task(), twelve(), measurer, SearchSettings()).rounds;
  };
  const SearchSettings settings;
  EXPECT_EQ(rounds_at(200), 2 * settings.block_rounds);
  EXPECT_EQ(rounds_at(0.01), 2 * settings.most_rounds);
}

// Two runs from scratch on one landscape: what they choose must be as good, and never slower than the default.
TEST(Decide, TwoRunsChooseWhatIsEquallyFast) {
  int differ = 0;
  int slower = 0;
  double worst = 1;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(1000 + seed);
    std::map<std::string, double> times;
    for (const Candidate &of : twelve()) {
      times[SimulatedMeasurer::name(of.tile)] = std::uniform_real_distribution<double>(0.95, 1.3)(random);
    }
    std::vector<double> chosen;
    std::vector<Tile> tiles;
    for (const std::uint64_t run : {0U, 1U}) {
      SimulatedMeasurer measurer(2 * seed + run);
      measurer.true_ms = [&](const Task &, const Tile &tile) { return times.at(SimulatedMeasurer::name(tile)); };
      const Decision decision = decide(Task(), twelve(), measurer, quick());
      tiles.push_back(decision.tile);
      chosen.push_back(times.at(SimulatedMeasurer::name(decision.tile)));
      slower += chosen.back() > times.at(SimulatedMeasurer::name(twelve().front().tile)) ? 1 : 0;
    }
    differ += tiles[0] == tiles[1] ? 0 : 1;
    worst = std::max(worst, std::max(chosen[0], chosen[1]) / std::min(chosen[0], chosen[1]));
  }
  RecordProperty("differ", differ);
  RecordProperty("worst", std::to_string(worst));
  EXPECT_EQ(slower, 0);
  EXPECT_LE(differ, 20) << "of 200";
  EXPECT_LE(worst, 1.01);
}

} // namespace
} // namespace sale::autotune
