// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/noise.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <random>

namespace sale::autotune {
namespace {

TEST(Noise, TheMedianIsTheMiddleOrBetweenTheTwo) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({4, 1, 100, 2}), 3);
}

TEST(Noise, WhatARoundSharesCancels) {
  std::vector<double> a;
  std::vector<double> b;
  for (int i = 1; i <= 20; ++i) {
    b.push_back(i);
    a.push_back(0.9 * i);
  }
  const Comparison found = compare(a, b, 0.001);
  EXPECT_DOUBLE_EQ(found.ratio, 0.9);
  EXPECT_DOUBLE_EQ(found.band, 0.001) << "the floor";
}

TEST(Noise, OutliersMoveNeitherRatioNorBand) {
  std::vector<double> a;
  std::vector<double> b(21, 1.0);
  for (int i = 0; i < 21; ++i) {
    a.push_back(1.0 + 0.001 * (i % 3 - 1));
  }
  const Comparison clean = compare(a, b, 0);
  a[4] = 50;
  a[11] = 0.01;
  const Comparison dirty = compare(a, b, 0);
  EXPECT_NEAR(dirty.ratio, clean.ratio, 0.001);
  EXPECT_NEAR(dirty.band, clean.band, 0.001);
}

TEST(Noise, TheBandIsTheErrorOfTheMedian) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> noise(0, 0.01);
  double squares = 0;
  double bands = 0;
  constexpr int repeats = 2000;
  constexpr int rounds = 25;
  for (int i = 0; i < repeats; ++i) {
    std::vector<double> a;
    for (int round = 0; round < rounds; ++round) {
      a.push_back(1 + noise(random));
    }
    const Comparison found = compare(a, std::vector<double>(rounds, 1.0), 0);
    squares += (found.ratio - 1) * (found.ratio - 1);
    bands += found.band;
  }
  EXPECT_NEAR(bands / repeats / std::sqrt(squares / repeats), 1, 0.1);
}

TEST(Noise, NothingToCompareIsEqual) {
  EXPECT_EQ(compare({}, {}, 0.01).ratio, 1);
  EXPECT_EQ(compare({1}, {0}, 0.01).ratio, 1);
}

} // namespace
} // namespace sale::autotune
