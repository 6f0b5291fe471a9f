// SPDX-License-Identifier: Apache-2.0
#include "bench/results.hpp"

#include <gtest/gtest.h>

namespace sale::bench {
namespace {

Row row_of(Work work, double ms, const std::string &estimate = "") {
  Row row;
  row.work = work;
  row.estimate = estimate;
  row.ms.add(ms);
  return row;
}

Section section_of(int length, std::vector<Row> rows) {
  Section section;
  section.shape = {1, length, length};
  section.rows = std::move(rows);
  return section;
}

TEST(Samples, have_a_median_a_least_and_a_greatest) {
  Samples samples;
  EXPECT_EQ(samples.median(), 0);
  for (const double value : {5.0, 1.0, 3.0}) {
    samples.add(value);
  }
  EXPECT_EQ(samples.median(), 3);
  samples.add(4);
  EXPECT_EQ(samples.median(), 3.5);
  EXPECT_EQ(samples.min(), 1);
  EXPECT_EQ(samples.max(), 5);
}

TEST(Section, counts_the_causal_half) {
  const Section section = section_of(32768, {});
  EXPECT_DOUBLE_EQ(section.flops(), 2.0 * 32768 * 32768 * 128 * 32);
  Section chunk = section;
  chunk.shape.q_len = 1024; // of the last rows: nearly all keys are visible
  EXPECT_DOUBLE_EQ(chunk.flops(), 4.0 * 1024 * (32768 - 512) * 128 * 32);
}

TEST(Section, rates_what_a_row_computes_and_compares_it_with_dense_16_bit) {
  Row fp8 = row_of(Work::dense, 1);
  fp8.fp8_attend = true;
  Row sparse = row_of(Work::attend, 1);
  sparse.density = 0.25;
  const Section section = section_of(1024, {fp8, row_of(Work::dense, 4), sparse, row_of(Work::sale, 2, "int8")});
  EXPECT_EQ(section.dense(), &section.rows[1]);
  EXPECT_DOUBLE_EQ(*section.tflops(section.rows[2]), 0.25 * section.flops() / 1e9);
  EXPECT_FALSE(section.tflops(section.rows[3]));
  EXPECT_EQ(section.speedup(section.rows[0]), 4);
  EXPECT_EQ(section.speedup(section.rows[3]), 2);
  EXPECT_FALSE(section_of(1024, {sparse}).speedup(sparse));
}

TEST(Row, has_a_name_that_tells_it_apart) {
  Row row = row_of(Work::sale, 1, "fp8/64");
  EXPECT_EQ(row.name(), "sale fp8/64");
  row.fp8_attend = true;
  EXPECT_EQ(row.name(), "sale fp8/64, fp8 attend");
  EXPECT_EQ(row_of(Work::dense, 1).name(), "dense");
}

TEST(Crossovers, lie_between_the_lengths_where_the_speedup_passes_one) {
  const auto sections = [](double at_1k, double at_4k) {
    return std::vector{section_of(4096, {row_of(Work::dense, 1), row_of(Work::sale, 1 / at_4k, "int8")}),
                       section_of(1024, {row_of(Work::dense, 1), row_of(Work::sale, 1 / at_1k, "int8")})};
  };
  ASSERT_EQ(crossovers(sections(0.5, 2)).size(), 1U);
  EXPECT_EQ(crossovers(sections(0.5, 2))[0].estimate, "int8");
  EXPECT_NEAR(*crossovers(sections(0.5, 2))[0].length, 2048, 1e-6);
  EXPECT_EQ(crossovers(sections(1.5, 2))[0].length, 0);
  EXPECT_FALSE(crossovers(sections(0.5, 0.9))[0].length);
}

} // namespace
} // namespace sale::bench
