// SPDX-License-Identifier: Apache-2.0
#include "runtime/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace sale {
namespace {

TEST(ParallelFor, DoesEveryPieceOnce) {
  for (const int jobs : {0, 1, 3, 100}) {
    std::vector<std::atomic<int>> done(50);
    parallel_for(50, jobs, [&](int i) { ++done[static_cast<std::size_t>(i)]; });
    for (const auto &count : done) {
      EXPECT_EQ(count, 1);
    }
  }
}

TEST(ParallelFor, DoesNothingForNoPieces) {
  parallel_for(0, 4, [](int) { FAIL(); });
}

TEST(ParallelFor, RethrowsTheFirstExceptionAndStartsNothingMore) {
  std::atomic<int> started{0};
  const auto work = [&](int) {
    ++started;
    throw std::runtime_error("no");
  };
  EXPECT_THROW(parallel_for(1000, 2, work), std::runtime_error);
  EXPECT_LE(started, 2);
}

} // namespace
} // namespace sale
