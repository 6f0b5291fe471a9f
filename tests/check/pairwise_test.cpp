// SPDX-License-Identifier: Apache-2.0
#include "check/pairwise.hpp"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

namespace sale::check {
namespace {

using Pair = std::tuple<int, int, int, int>;

std::set<Pair> pairs_of(const std::vector<Choice> &choices, const Holds &holds) {
  std::set<Pair> pairs;
  for (const Choice &choice : choices) {
    for (int f = 0; f < static_cast<int>(choice.size()); ++f) {
      for (int g = f + 1; g < static_cast<int>(choice.size()); ++g) {
        if (holds(choice, f, g)) {
          pairs.insert({f, choice[f], g, choice[g]});
        }
      }
    }
  }
  return pairs;
}

std::vector<Choice> product(const std::vector<int> &sizes) {
  std::vector<Choice> all = {{}};
  for (const int size : sizes) {
    std::vector<Choice> longer;
    for (const Choice &choice : all) {
      for (int value = 0; value < size; ++value) {
        longer.push_back(choice);
        longer.back().push_back(value);
      }
    }
    all = std::move(longer);
  }
  return all;
}

TEST(Pairwise, HoldsEveryPairOfTheFullProduct) {
  const std::vector<int> sizes = {3, 2, 5, 4, 2, 3};
  const auto every_pair = [](const Choice &, int, int) { return true; };
  const auto choices = pairwise(sizes, every_pair);
  EXPECT_EQ(pairs_of(choices, every_pair), pairs_of(product(sizes), every_pair));
  EXPECT_GE(choices.size(), 20U); // 5 x 4
  EXPECT_LE(choices.size(), 30U);
}

TEST(Pairwise, CountsPairsOnlyWhereBothValuesMatter) {
  const std::vector<int> sizes = {2, 3, 4, 3};
  const auto matters = [](const Choice &choice, int factor) {
    return factor == 0 || factor == 2 || (choice[0] == 1 && (factor == 1 || choice[1] != 2));
  };
  const auto holds = [&](const Choice &choice, int f, int g) { return matters(choice, f) && matters(choice, g); };
  const auto choices = pairwise(sizes, holds);
  EXPECT_EQ(pairs_of(choices, holds), pairs_of(product(sizes), holds));
}

TEST(Pairwise, GivesTheSameChoicesEveryTime) {
  const auto every_pair = [](const Choice &, int, int) { return true; };
  EXPECT_EQ(pairwise({4, 4, 4}, every_pair), pairwise({4, 4, 4}, every_pair));
}

} // namespace
} // namespace sale::check
