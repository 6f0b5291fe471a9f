// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/predicate.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <string>

namespace sale::autotune {
namespace {

KernelSpec attend_spec() {
  KernelSpec spec; // attend of d128, q64 k32
  spec.tile = {.rows_per_warp = 16, .warps = 8, .keys_per_step = 96, .stages = 3, .min_ctas = 2};
  return spec;
}

bool holds(const std::string &text) { return Predicate::parse(text).holds(attend_spec()); }

std::string refusal(const std::string &text) {
  try {
    holds(text);
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(PredicateTest, ComputesWithTheNumbersOfAKernel) {
  EXPECT_TRUE(holds("rows == 128 and keys_per_step == 96 and stages == 3 and min_ctas == 2"));
  EXPECT_TRUE(holds("head_dim == 128 and v_head_dim == head_dim"));
  EXPECT_TRUE(holds("causal and not dense and not (fp8_attend or sliding)"));
  EXPECT_TRUE(holds("rows % block_q == 0"));
  EXPECT_FALSE(holds("rows % (block_q + 1) == 0"));
  EXPECT_TRUE(holds("compute_capability == 90 and max_shared_memory == 227 * 1024"));
}

TEST(PredicateTest, BindsAsArithmeticDoes) {
  EXPECT_TRUE(holds("1 + 2 * 3 == 7"));
  EXPECT_TRUE(holds("(1 + 2) * 3 == 9"));
  EXPECT_TRUE(holds("10 - 4 - 3 == 3"));
  EXPECT_TRUE(holds("64 / 4 / 2 == 8"));
  EXPECT_TRUE(holds("-3 + 5 == 2 and - -2 == 2"));
  EXPECT_TRUE(holds("1 < 2 or 1 < 0 and 1 < 0"));
  EXPECT_FALSE(holds("(1 < 2 or 1 < 0) and 1 < 0"));
  EXPECT_TRUE(holds("not 2 <= 1 and 2 != 1 and 2 >= 2"));
}

TEST(PredicateTest, DoesNotAskTheRightSideWhereTheLeftDecides) {
  EXPECT_TRUE(holds("1 == 1 or 1 / 0 == 1"));
  EXPECT_FALSE(holds("dense and 1 / 0 == 1"));
}

TEST(PredicateTest, SaysWhereItIsWrong) {
  EXPECT_EQ(refusal(""), "column 1: a number, a name or a parenthesis must stand here");
  EXPECT_EQ(refusal("rows =="), "column 8: a number, a name or a parenthesis must stand here");
  EXPECT_EQ(refusal("rows == 1 2"), "column 11: an operator or the end must follow here");
  EXPECT_EQ(refusal("rows < 1 < 2"), "column 10: an operator or the end must follow here");
  EXPECT_EQ(refusal("(rows == 1"), "column 11: the parenthesis of column 1 must be closed here");
  EXPECT_EQ(refusal("rows + 1"), "column 1: a condition must stand here, not a number");
  EXPECT_EQ(refusal("1 == dense"), "column 6: a number must stand here, not a condition");
  EXPECT_EQ(refusal("dense and rows"), "column 11: a condition must stand here, not a number");
  EXPECT_EQ(
      refusal("rows == 1 and andy == 2").rfind("column 15: 'andy' is not known; names are rows_per_warp, warps, ", 0),
      0U);
  EXPECT_EQ(refusal("rows @ 1"), "column 6: an operator or the end must follow here");
}

TEST(PredicateTest, RefusesWhatItCannotCompute) {
  EXPECT_NE(refusal("rows / (rows - 128) == 1").find("divides by 0"), std::string::npos);
  EXPECT_NE(refusal("rows % (rows - 128) == 1").find("divides by 0"), std::string::npos);
  EXPECT_NE(refusal("999999999 * 999999999 * 999999999 == 1").find("leaves the range"), std::string::npos);
}

TEST(PredicateTest, RefusesWhatIsTooMuch) {
  EXPECT_EQ(refusal("1000000000 == 1"), "column 1: a number has at most 9 digits");
  EXPECT_EQ(refusal(std::string(400, '(')), "column 34: more than 32 levels of nesting");
  EXPECT_EQ(refusal(std::string(400, '-') + "1 == 1"), "column 34: more than 32 levels of nesting");
  std::string nots;
  for (int i = 0; i < 100; ++i) {
    nots += "not ";
  }
  EXPECT_NE(refusal(nots + "dense").find("more than 32 levels"), std::string::npos);
  EXPECT_EQ(refusal(std::string(513, ' ')), "column 513: a condition has at most 512 characters");
  std::string chain = "1";
  while (chain.size() < 500) {
    chain += "+1";
  }
  EXPECT_TRUE(holds(chain + " > 1"));
}

} // namespace
} // namespace sale::autotune
