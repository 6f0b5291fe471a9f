// SPDX-License-Identifier: Apache-2.0
// BackgroundTuning with shell scripts in the place of `sale`.
#include "sale/background_tuning.hpp"
#include "sale/error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <chrono>
#include <csignal>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <thread>

namespace sale {
namespace {

using State = BackgroundTuning::State;

class BackgroundTuningTest : public testing::Test {
protected:
  // A program of these lines; $here is the test's folder.
  BackgroundTuningOptions options(const std::string &lines) {
    const std::filesystem::path program = folder_.path() / "sale";
    std::ofstream(program) << "#!/bin/sh\nhere='" << folder_.path().string() << "'\n" << lines << '\n';
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    BackgroundTuningOptions with;
    with.needs = {Need()};
    with.record = folder_.path() / "record.yaml";
    with.program = program;
    return with;
  }
  std::string text(const char *name) const {
    std::ifstream file(folder_.path() / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static State wait(BackgroundTuning &tuning) {
    for (int i = 0; i < 1000 && tuning.state() == State::running; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return tuning.state();
  }
  bool appears(const char *name) const {
    for (int i = 0; i < 1000 && text(name).empty(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return !text(name).empty();
  }

  TemporaryFolder folder_;
};

TEST_F(BackgroundTuningTest, SaysTheNeedInWords) {
  BackgroundTuningOptions with = options("echo \"$@\" > $here/words");
  with.needs.front().problem.num_q_heads = 16;
  with.needs.front().policy.estimator = Estimator::fp8;
  with.lengths = {8192, 32768};
  with.more_words = {"--nvrtc", "/opt/cuda"};
  BackgroundTuning tuning(with);
  EXPECT_EQ(wait(tuning), State::done);
  EXPECT_EQ(tuning.error(), "");
  const std::string words = text("words");
  EXPECT_EQ(words.find("tune --heads 16 --kv-heads 8 --head-dim 128 --dtype bf16 --estimator fp8 --block-q 64 "
                       "--block-k 32 --lengths 8192,32768 --budget "),
            0U)
      << words;
  EXPECT_NE(words.find(" --device 0 --output " + with.record.string() + " --stop-at-end-of-input --nvrtc /opt/cuda\n"),
            std::string::npos)
      << words;
  EXPECT_EQ(tuning.record(), nullptr) << "it wrote none";
}

TEST_F(BackgroundTuningTest, TakesOneNeedAfterTheOther) {
  BackgroundTuningOptions with = options("echo $3 >> $here/words");
  with.needs.resize(3);
  with.needs[1].problem.num_q_heads = 16;
  with.needs[2].problem.num_q_heads = 8;
  BackgroundTuning tuning(with);
  EXPECT_EQ(wait(tuning), State::done);
  EXPECT_EQ(text("words"), "32\n16\n8\n");
}

TEST_F(BackgroundTuningTest, TellsWhyItFailed) {
  BackgroundTuning tuning(options("echo 'sale: no GPU here' >&2; exit 2"));
  EXPECT_EQ(wait(tuning), State::failed);
  EXPECT_EQ(tuning.error(), "sale tune ended with exit code 2: sale: no GPU here");
  BackgroundTuning killed(options("kill -9 $$"));
  EXPECT_EQ(wait(killed), State::failed);
  EXPECT_EQ(killed.error(), "sale tune ended with signal 9");
}

TEST_F(BackgroundTuningTest, StopsByTheEndOfInput) {
  BackgroundTuning tuning(options("echo begun > $here/begun; cat; echo ended > $here/ended"));
  ASSERT_TRUE(appears("begun"));
  EXPECT_EQ(tuning.state(), State::running);
  tuning.stop();
  EXPECT_EQ(tuning.state(), State::stopped);
  EXPECT_EQ(text("ended"), "ended\n");
}

TEST_F(BackgroundTuningTest, KillsWhatDoesNotStop) {
  const auto begin = std::chrono::steady_clock::now();
  {
    BackgroundTuning tuning(options("echo $$ > $here/process; exec sleep 600"));
    ASSERT_TRUE(appears("process"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(300));
  EXPECT_EQ(::kill(std::stoi(text("process")), 0), -1) << "it has gone";
}

TEST_F(BackgroundTuningTest, RefusesWhatCannotBe) {
  const auto sentence = [](const BackgroundTuningOptions &with) {
    try {
      BackgroundTuning tuning(with);
    } catch (const Error &error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  BackgroundTuningOptions with = options("exit 0");
  with.record.clear();
  EXPECT_NE(sentence(with).find("record is empty"), std::string::npos);
  with = options("exit 0");
  with.needs.clear();
  EXPECT_NE(sentence(with).find("needs is empty"), std::string::npos);
  with = options("exit 0");
  with.budget_seconds = 0;
  EXPECT_NE(sentence(with).find("budget_seconds is 0"), std::string::npos);
  with = options("exit 0");
  with.needs.front().serving.page_size = 64;
  EXPECT_NE(sentence(with).find("ragged"), std::string::npos);
  with = options("exit 0");
  with.program = folder_.path() / "none";
  EXPECT_NE(sentence(with).find("is no program; name the program in SALE_PROGRAM"), std::string::npos);
  with = options("exit 0");
  with.needs.front().problem.head_dim = 77;
  EXPECT_NE(sentence(with).find("head_dim 77"), std::string::npos);
}

} // namespace
} // namespace sale
