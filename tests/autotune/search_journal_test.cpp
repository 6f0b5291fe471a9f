// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/journal.hpp"
#include "sale/error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <fstream>
#include <gtest/gtest.h>
#include <iterator>

namespace sale::autotune {
namespace {

class JournalTest : public testing::Test {
protected:
  static Decision decision(int number) {
    Decision made;
    made.tile = {16, 8, 32 * number, number, 1};
    made.is_default = false;
    made.default_ms = 1.25;
    made.best_ms = 1.0 / 3;
    made.ratio = 0.7;
    made.band = 0.0025;
    made.rounds = 22;
    made.disturbed = number;
    made.seconds = 2.5;
    CandidateResult result;
    result.tile = {16, 12, 64, 2, 1};
    result.first_ms = 0.1;
    result.outcome = Outcome::hung;
    result.why = "it did not end within 10 s, \"really\"";
    made.candidates = {CandidateResult(), result};
    return made;
  }
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string &content) const { std::ofstream(path_, std::ios::binary) << content; }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "journal";
};

TEST_F(JournalTest, GivesBackWhatWasAdded) {
  {
    Journal journal(path_, "asked", false);
    journal.add("one", decision(1));
    journal.add("two", decision(2));
  }
  const Journal journal(path_, "asked", true);
  ASSERT_EQ(journal.lines().size(), 2U);
  EXPECT_EQ(journal.lines()[1].name, "two");
  const Decision &read = journal.lines()[1].decision;
  const Decision was = decision(2);
  EXPECT_EQ(read.tile, was.tile);
  EXPECT_EQ(read.is_default, was.is_default);
  EXPECT_EQ(read.default_ms, was.default_ms);
  EXPECT_EQ(read.best_ms, was.best_ms);
  EXPECT_EQ(read.ratio, was.ratio);
  EXPECT_EQ(read.band, was.band);
  EXPECT_EQ(read.rounds, was.rounds);
  EXPECT_EQ(read.disturbed, was.disturbed);
  EXPECT_EQ(read.seconds, was.seconds);
  ASSERT_EQ(read.candidates.size(), 2U);
  EXPECT_EQ(read.candidates[1].tile, was.candidates[1].tile);
  EXPECT_EQ(read.candidates[1].outcome, Outcome::hung);
  EXPECT_EQ(read.candidates[1].why, was.candidates[1].why);
}

TEST_F(JournalTest, CutAnywhereItLosesTheLastLineAtMost) {
  {
    Journal journal(path_, "asked", false);
    journal.add("one", decision(1));
    journal.add("two", decision(2));
  }
  const std::string whole = text();
  const std::size_t first = whole.find('\n') + 1;
  const std::size_t second = whole.find('\n', first) + 1;
  for (std::size_t size = first; size < whole.size(); size += 13) {
    write(whole.substr(0, size));
    {
      Journal journal(path_, "asked", true);
      ASSERT_EQ(journal.lines().size(), size >= second ? 1U : 0U) << size;
      journal.add("two", decision(2));
    }
    ASSERT_EQ(text(), whole.substr(0, size >= second ? second : first) + whole.substr(second)) << size;
  }
}

TEST_F(JournalTest, DamagedLinesAndWhatFollowsAreNotThere) {
  for (const char *line : {"{}", "[1]", "nonsense", "{\"name\": 3}", "{\"name\":\"x\",\"tile\":[1,2]}"}) {
    std::string header;
    std::string good;
    {
      Journal journal(path_, "asked", false);
      header = text();
      journal.add("one", decision(1));
      good = text().substr(header.size());
    }
    write(header + good + line + "\n" + good);
    EXPECT_EQ(Journal(path_, "asked", true).lines().size(), 1U) << line;
    EXPECT_EQ(text(), header + good);
  }
}

TEST_F(JournalTest, OnlyTheSameQuestionGoesOn) {
  {
    Journal journal(path_, "asked", false);
  }
  EXPECT_THROW(Journal(path_, "asked something else", true), Error);
  EXPECT_EQ(Journal(path_, "asked", true).lines().size(), 0U) << "it is still there";
  EXPECT_THROW(Journal(folder_.path() / "none", "asked", true), Error);
  EXPECT_THROW(Journal(folder_.path() / "no" / "folder", "asked", false), Error);
  write("");
  EXPECT_THROW(Journal(path_, "asked", true), Error);
}

TEST_F(JournalTest, BegunAnewItForgets) {
  {
    Journal journal(path_, "asked", false);
    journal.add("one", decision(1));
  }
  {
    Journal journal(path_, "other", false);
  }
  EXPECT_TRUE(Journal(path_, "other", true).lines().empty());
}

} // namespace
} // namespace sale::autotune
