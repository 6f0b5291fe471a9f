// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <gtest/gtest.h>

namespace sale::cli {
namespace {

TEST(TimeLeft, is_not_known_before_the_first_compile) { EXPECT_FALSE(TimeLeft().seconds(10)); }

TEST(TimeLeft, is_the_median_for_each_kernel_shared_by_the_jobs_at_work) {
  TimeLeft left;
  left.compiled(2, 2);
  EXPECT_DOUBLE_EQ(*left.seconds(10), 20);
  left.compiled(40, 21); // an outlier; both ended within 21 s, so two were at work
  left.compiled(2, 22);
  EXPECT_DOUBLE_EQ(*left.seconds(10), 2 * 10 / (44.0 / 22));
  EXPECT_DOUBLE_EQ(*left.seconds(0), 0);
}

TEST(TimeLeft, counts_on_one_job_at_least) {
  TimeLeft left;
  left.compiled(1, 100); // after many that were in the cache
  EXPECT_DOUBLE_EQ(*left.seconds(3), 3);
}

TEST(Duration, is_said_in_units_that_fit) {
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(0.2), "1 s");
  EXPECT_EQ(duration_text(119), "119 s");
  EXPECT_EQ(duration_text(121), "3 min");
  EXPECT_EQ(duration_text(7500), "2 h 5 min");
}

} // namespace
} // namespace sale::cli
