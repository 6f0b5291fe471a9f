// SPDX-License-Identifier: Apache-2.0
// What an Engine says, to whom, and how much.
#include "tests/runtime/plan_fixture.hpp"

#include <gtest/gtest.h>

#include <utility>

namespace sale {
namespace {

class LogTest : public FakeMachine {
protected:
  using Lines = std::vector<std::pair<LogLevel, std::string>>;

  /// Of an Engine that prepares one Plan, in the folder of this test.
  Lines lines(LogLevel level) {
    Lines said;
    Options with = options();
    with.log_level = level;
    with.log = [&said](LogLevel each, const std::string &sentence) { said.emplace_back(each, sentence); };
    kernels_ = Engine(0, with).prepare({}, {}).kernels().size();
    return said;
  }

  std::size_t kernels_ = 0;
};

TEST_F(LogTest, SaysNothingOfWhatIsUsual) {
  EXPECT_TRUE(lines(LogLevel::from_environment).empty());
  EXPECT_TRUE(lines(LogLevel::warning).empty());
}

TEST_F(LogTest, InfoTellsOfDeviceCompilerAndWhereKernelsCameFrom) {
  const Lines first = lines(LogLevel::info);
  ASSERT_EQ(first.size(), 3U);
  EXPECT_NE(first[0].second.find("Fake GPU, 132 multiprocessors"), std::string::npos) << first[0].second;
  EXPECT_NE(first[0].second.find("(CUDA 13.0); kernels are for sm_90a"), std::string::npos) << first[0].second;
  EXPECT_NE(first[1].second.find("compiled by NVRTC 13.0"), std::string::npos) << first[1].second;
  const std::string all = std::to_string(kernels_);
  EXPECT_NE(first[2].second.find(": 0 in memory, 0 from the cache, " + all + " compiled"), std::string::npos)
      << first[2].second;
  for (const auto &[level, sentence] : first) {
    EXPECT_EQ(level, LogLevel::info) << sentence;
  }
  const Lines second = lines(LogLevel::info);
  ASSERT_EQ(second.size(), 2U); // no compiler
  EXPECT_NE(second[1].second.find(": 0 in memory, " + all + " from the cache, 0 compiled"), std::string::npos)
      << second[1].second;
}

TEST_F(LogTest, DebugTellsOfEveryKernel) {
  const Lines said = lines(LogLevel::debug);
  std::size_t compiled = 0;
  for (const auto &[level, sentence] : said) {
    compiled += level == LogLevel::debug && sentence.find("): compiled in ") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(compiled, kernels_);
}

TEST_F(LogTest, TheEnvironmentSaysHowMuchUnlessTheHostDoes) {
  const SetVariable set("SALE_LOG", "info");
  EXPECT_FALSE(lines(LogLevel::from_environment).empty());
  EXPECT_TRUE(lines(LogLevel::off).empty());
}

TEST_F(LogTest, AWordThatIsNoLevelIsAWarning) {
  const SetVariable set("SALE_LOG", "verbose");
  const Lines said = lines(LogLevel::from_environment);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].first, LogLevel::warning);
  EXPECT_EQ(said[0].second, "SALE_LOG is \"verbose\", taken for warning; it is off, warning, info or debug");
}

TEST_F(LogTest, WithoutAListenerItIsStandardError) {
  Options with = options();
  with.log = nullptr;
  with.log_level = LogLevel::info;
  testing::internal::CaptureStderr();
  const Engine engine(0, with);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said.rfind("sale: info: Fake GPU", 0), 0U) << said;
  with.log_level = LogLevel::off;
  testing::internal::CaptureStderr();
  const Engine silent(0, with);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(LogTest, WarningsComeAtEveryLevelButOff) {
  const auto warned = [&](LogLevel level) {
    Options with = options();
    with.cache_dir = "/proc/nowhere"; // cannot be made
    with.log_level = level;
    int warnings = 0;
    with.log = [&warnings](LogLevel each, const std::string &) { warnings += each == LogLevel::warning ? 1 : 0; };
    Engine(0, with).prepare({}, {});
    return warnings;
  };
  EXPECT_GT(warned(LogLevel::warning), 0);
  EXPECT_GT(warned(LogLevel::debug), 0);
  EXPECT_EQ(warned(LogLevel::off), 0);
}

} // namespace
} // namespace sale
