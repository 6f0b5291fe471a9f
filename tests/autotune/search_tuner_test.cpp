// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/tuner.hpp"
#include "autotune/record/record.hpp"
#include "generator/generate.hpp"
#include "tests/autotune/simulated_measurer.hpp"
#include "tests/support/temporary_folder.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <set>

namespace sale::autotune {
namespace {

class TunerTest : public testing::Test {
protected:
  TunerTest() {
    Need fp8;
    fp8.policy.estimator = Estimator::fp8;
    request_.buckets = tune_buckets({Need(), fp8}, {1024, 4096}, default_bands(), arch_);
    request_.settings.task_seconds = 0;
    request_.candidates_of = [](const Task &task) {
      Candidate by_default;
      by_default.tile = task.kernel.tile;
      by_default.model_ms = 1;
      std::vector<Candidate> all = {by_default};
      for (const int stages : {2, 3, 4, 5}) {
        Candidate other = by_default;
        other.tile.stages = stages;
        other.model_ms = 1 + stages * 0.1;
        if (!(other.tile == by_default.tile)) {
          all.push_back(other);
        }
      }
      return all;
    };
    // Attend with two stages is faster at 4096 tokens.
    measurer_.true_ms = [](const Task &task, const Tile &tile) {
      return task.tokens == 4096 && task.kernel.stage == Stage::attend && tile.stages == 2 ? 0.8 : 1.0;
    };
  }

  static TuningRecord record_of(const TuneResult &result) {
    TuningRecord record = empty_record();
    record.gpus.push_back(result.gpu);
    return record;
  }

  Arch arch_ = parse_arch("sm_90a");
  TuneRequest request_;
  SimulatedMeasurer measurer_{1};
  TemporaryFolder folder_;
};

TEST_F(TunerTest, BucketsAreEveryTunableKernelOnceAtEveryLength) {
  // Dense attend, attend in two bands, and prepare and select of two estimators.
  EXPECT_EQ(request_.buckets.size(), 2U * (1 + 2 + 2 + 2));
  std::set<std::string> names;
  for (const TuneBucket &bucket : request_.buckets) {
    EXPECT_TRUE(names.insert(bucket.task.describe()).second) << bucket.task.describe();
  }
  EXPECT_EQ(request_.buckets.front().task.tokens, 4096);
  EXPECT_EQ(request_.buckets.front().task.kernel.stage, Stage::attend);
  EXPECT_FALSE(request_.buckets.front().task.kernel.dense);
  EXPECT_EQ(request_.buckets.front().up_to_density, 1);
  EXPECT_THROW(tune_buckets({Need()}, {}, default_bands(), arch_), Error);
  EXPECT_THROW(tune_buckets({Need()}, {1000}, default_bands(), arch_), Error);
  EXPECT_THROW(tune_buckets({Need()}, {1 << 21}, default_bands(), arch_), Error);
  EXPECT_THROW(tune_buckets({Need()}, {1024}, {{0.5F, 0.2F}}, arch_), Error);
  EXPECT_THROW(tune_buckets({Need()}, {1024}, {{0.5F, 0.7F}, {1, 0}}, arch_), Error);
}

TEST_F(TunerTest, MakesARecordThatReadsBackAndServesEveryCall) {
  const TuneResult result = tune(request_, measurer_);
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.decisions.size(), request_.buckets.size());
  const TuningRecord record = parse_record(record_text(record_of(result)), "made");
  ASSERT_EQ(record.gpus.size(), 1U);
  const GpuTuning &gpu = record.gpus.front();
  EXPECT_EQ(gpu.name, "Simulated GPU");
  EXPECT_EQ(gpu.facts.at("driver"), "simulated");
  EXPECT_EQ(gpu.kernels.size(), 6U);
  for (const KernelSpec &kernel : plan_kernels(Problem(), Policy(), arch_)) {
    if (!is_tunable(kernel.stage)) {
      continue;
    }
    const std::vector<TileChoice> choices = choices_for(record, gpu, kernel);
    const bool attend = kernel.stage == Stage::attend && kernel.tile.stages != 2;
    ASSERT_EQ(choices.size(), attend ? 2U : 1U) << kernel.class_name();
    if (attend) {
      EXPECT_EQ(choices[0].up_to_tokens, 1024);
      EXPECT_EQ(choices[0].tile, kernel.tile);
      EXPECT_EQ(choices[1].tile.stages, 2);
      EXPECT_EQ(choices[1].up_to_tokens, TileChoice::all_tokens);
      const std::string fact = choices[1].facts.at("4096 tokens");
      EXPECT_NEAR(std::stod(fact.substr(fact.find("ratio ") + 6)), 0.8, 0.01) << fact;
    }
  }
}

TEST_F(TunerTest, TheBudgetEndsItAndNothingIsSaidOfTheRest) {
  request_.settings.budget_seconds = 1e-9;
  const TuneResult result = tune(request_, measurer_);
  EXPECT_FALSE(result.complete);
  EXPECT_NE(result.stopped.find("budget"), std::string::npos);
  EXPECT_TRUE(result.decisions.empty());
  EXPECT_TRUE(result.gpu.kernels.empty());
}

TEST_F(TunerTest, WhatWasNotReachedKeepsTheTileOfTheRecordBefore) {
  const std::string attend = request_.buckets.front().task.kernel.class_name();
  const Tile by_default = request_.buckets.front().task.kernel.tile;
  Tile known = by_default;
  known.stages = 4;
  TuningRecord earlier = empty_record();
  earlier.gpus.push_back(
      {"Simulated GPU",
       arch_,
       132,
       {},
       {{attend, {{.up_to_tokens = 1024, .tile = known, .facts = {}}, {.tile = by_default, .facts = {}}}}}});
  int done = 0;
  const auto two_done = [&] { return done == 2; };
  const auto count = [&](const TuneProgress &progress) { done += progress.decided != nullptr ? 1 : 0; };
  for (const bool with_record : {false, true}) {
    done = 0;
    request_.earlier.assign(with_record ? 1 : 0, earlier);
    const TuneResult result = tune(request_, measurer_, count, two_done);
    ASSERT_EQ(result.gpu.kernels.size(), 1U) << "attend at 4096 tokens, in both bands";
    const std::vector<TileChoice> &choices = result.gpu.kernels.front().choices;
    const auto at_1024 =
        std::find_if(choices.begin(), choices.end(), [](const TileChoice &choice) { return choice.serves(1024, 1); });
    EXPECT_EQ(at_1024->tile, with_record ? known : by_default);
    EXPECT_EQ(choices.back().tile.stages, 2);
  }
}

TEST_F(TunerTest, AnInterruptedRunGoesOnWhereItWas) {
  request_.journal = folder_.path() / "journal";
  int done = 0;
  const TuneResult first = tune(
      request_, measurer_, [&](const TuneProgress &progress) { done += progress.decided != nullptr ? 1 : 0; },
      [&] { return done == 5; });
  EXPECT_FALSE(first.complete);
  EXPECT_EQ(first.stopped, "it was interrupted");
  ASSERT_EQ(first.decisions.size(), 5U);
  const int calls = measurer_.calls;
  request_.resume = true;
  std::size_t from_journal = 0;
  const TuneResult second = tune(request_, measurer_, [&](const TuneProgress &progress) {
    from_journal += progress.from_journal ? 1 : 0;
    EXPECT_LE(progress.bucket, progress.buckets);
  });
  EXPECT_TRUE(second.complete);
  EXPECT_EQ(from_journal, 5U);
  EXPECT_EQ(second.decisions[0].default_ms, first.decisions[0].default_ms);
  EXPECT_GT(measurer_.calls, calls);
  // Other settings are another question.
  request_.settings.candidates = 3;
  EXPECT_THROW(tune(request_, measurer_), Error);
}

TEST_F(TunerTest, ALengthThatDoesNotFitIsLeftOut) {
  measurer_.on_measure = [](const Task &task) {
    if (task.tokens == 4096) {
      throw Error(ErrorKind::load, "4096 tokens need 9 GiB and the device has 8");
    }
  };
  const TuneResult result = tune(request_, measurer_);
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.decisions.front().left_out, "4096 tokens need 9 GiB and the device has 8");
  EXPECT_EQ(result.decisions.back().left_out, "");
  parse_record(record_text(record_of(result)), "made");
}

TEST_F(TunerTest, OtherErrorsPassOnAndTheJournalStays) {
  request_.journal = folder_.path() / "journal";
  int tasks = 0;
  std::string before;
  measurer_.on_measure = [&](const Task &task) {
    if (task.describe() != before && ++tasks == 4) {
      throw Error(ErrorKind::launch, "the GPU has fallen off the bus");
    }
    before = task.describe();
  };
  EXPECT_THROW(tune(request_, measurer_), Error);
  measurer_.on_measure = nullptr;
  request_.resume = true;
  std::size_t from_journal = 0;
  tune(request_, measurer_, [&](const TuneProgress &progress) { from_journal += progress.from_journal ? 1 : 0; });
  EXPECT_EQ(from_journal, 3U);
}

TEST(PickCandidates, AreTheDefaultTheWantedAndTheModelsBestInTheirOrder) {
  const std::vector<Candidate> all = {candidate(128, 3, 5), candidate(64, 2, 4), candidate(64, 3, 3),
                                      candidate(96, 2, 2),  candidate(96, 3, 1), candidate(160, 2, 9)};
  const std::vector<Candidate> picked = pick_candidates(all, {all[5].tile, candidate(32, 7).tile}, 2);
  ASSERT_EQ(picked.size(), 4U);
  EXPECT_EQ(picked[0].tile, all[0].tile);
  EXPECT_EQ(picked[1].tile, all[3].tile);
  EXPECT_EQ(picked[2].tile, all[4].tile);
  EXPECT_EQ(picked[3].tile, all[5].tile);
}

TEST_F(TunerTest, EarlierRecordsAndNeighboursAreAmongTheCandidates) {
  request_.settings.candidates = 0;
  TuningRecord earlier = empty_record();
  earlier.templates = "of another version";
  const KernelSpec &attend = request_.buckets.front().task.kernel;
  Tile tile = attend.tile;
  tile.stages = 2;
  earlier.gpus.push_back({"Another GPU", arch_, 78, {}, {{attend.class_name(), {{.tile = tile, .facts = {}}}}}});
  request_.earlier = {earlier};
  const TuneResult result = tune(request_, measurer_);
  EXPECT_EQ(result.decisions.front().candidates.size(), 2U);
  EXPECT_EQ(result.decisions.front().tile.stages, 2);
  EXPECT_EQ(result.decisions.back().candidates.size(), 1U) << "nobody has seen another tile of it";
}

} // namespace
} // namespace sale::autotune
