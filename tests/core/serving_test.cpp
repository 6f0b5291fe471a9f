// SPDX-License-Identifier: Apache-2.0
#include "sale/error.hpp"
#include "sale/types.hpp"

#include <gtest/gtest.h>

#include <string>

namespace sale {
namespace {

std::string refusal(const Shape &shape, const Serving &serving) {
  try {
    validate(shape, Problem(), serving);
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

Serving ragged() {
  Serving serving;
  serving.ragged = true;
  return serving;
}

TEST(Serving, OfOneLengthHasNoPackedRows) {
  EXPECT_EQ(refusal({2, 10, 20}, {}), "");
  EXPECT_EQ(refusal({2, 10, 20, 15, 0}, {}), "shape.total_q and total_kv are of packed sequences; prepare the plan "
                                             "with serving.ragged, or set both to 0");
  EXPECT_EQ(refusal({2, 20, 10}, {}),
            "q_len 20 is greater than kv_len 10; queries are the last q_len positions of the keys");
  EXPECT_EQ(refusal({1023, 1 << 20, 1 << 20}, {}), "");
  EXPECT_EQ(refusal({1024, 1 << 20, 1 << 20}, {}),
            "1024 sequences of 1048576 query rows and 32 heads are too many for one call; split the batch");
}

TEST(Serving, OfRaggedBatchesHasAnyLengths) {
  EXPECT_EQ(refusal({2, 10, 20, 15, 30}, ragged()), "");
  EXPECT_EQ(refusal({2, 20, 10}, ragged()), "");
  EXPECT_EQ(refusal({0, 0, 0}, ragged()), "");
}

TEST(Serving, OfRaggedBatchesHasLimits) {
  EXPECT_EQ(refusal({4097, 10, 20}, ragged()), "batch 4097 is above 4096, the most sequences of one ragged call");
  EXPECT_EQ(refusal({1, 10, (1 << 20) + 1}, ragged()), "q_len 10 and kv_len 1048577 must be between 0 and 1048576");
  EXPECT_EQ(refusal({1, 10, 0}, ragged()), "kv_len is 0; give the most keys that a sequence may have, at least 1");
  EXPECT_EQ(refusal({2, 10, 20, 0, -1}, ragged()),
            "total_q 0 and total_kv -1 must be between 0 and 1048576; more sequences need more calls");
  EXPECT_EQ(refusal({4096, 10, 1 << 20}, ragged()),
            "4096 sequences of 1048576 keys and 8 KV heads are too many for one call; split the batch");
  EXPECT_EQ(refusal({4096, 1 << 20, 1}, ragged()),
            "4096 sequences of 1048576 query rows and 32 heads are too many for one call; split the batch");
  EXPECT_EQ(refusal({4096, 1 << 20, 1 << 20, 1 << 20, 1 << 20}, ragged()), "");
}

TEST(Serving, WithPagesHasNoPackedKeys) {
  Serving serving;
  serving.page_size = 64;
  EXPECT_EQ(refusal({2, 10, 20, 15, 30}, serving), "total_kv 30 is of packed K and V, but the plan was prepared with "
                                                   "serving.page_size 64; set total_kv to 0");
}

TEST(Serving, CachesCodesOfKeysThatDependOnThemAlone) {
  const auto said = [](int page_size, Estimator estimator, bool fp8_attend) {
    Serving serving;
    serving.page_size = page_size;
    serving.code_cache = true;
    Policy policy;
    policy.estimator = estimator;
    policy.fp8_attend = fp8_attend;
    try {
      validate(serving, Problem(), policy);
    } catch (const Error &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(said(48, Estimator::int8, false), "code_cache needs pages of a multiple of 32 keys, not page_size 48");
  EXPECT_EQ(said(0, Estimator::int8, false), "code_cache needs pages of a multiple of 32 keys, not page_size 0");
  EXPECT_EQ(said(20, Estimator::int8, false), "page_size 20 must be a multiple of 16 keys, or 0 for no pages");
  EXPECT_EQ(said(64, Estimator::int4, false),
            "code_cache needs estimator int8 or fp8; what int4 makes of keys depends on each call's queries");
  EXPECT_EQ(said(64, Estimator::exact, false), "code_cache needs estimator int8 or fp8; exact has no codes");
  EXPECT_EQ(said(64, Estimator::fp8, true), "code_cache and fp8_attend exclude each other; set fp8_attend to false");
}

} // namespace
} // namespace sale
