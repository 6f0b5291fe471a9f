// SPDX-License-Identifier: Apache-2.0
#include "check/check_case.hpp"

#include "check/covering_set.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale::check {
namespace {

std::string refusal_of(const std::string &text) {
  try {
    parse_cases(text, "case.yaml");
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

TEST(CheckCase, ReadsBackWhatItWrites) {
  for (const CheckCase &c : covering_set()) {
    const auto again = parse_cases(c.yaml(), "case.yaml");
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].yaml(), c.yaml());
  }
}

TEST(CheckCase, NeedsOnlyLengths) {
  const auto cases = parse_cases("- {q_len: 3, kv_len: 5}\n- {q_len: 4, kv_len: 4, mode: dense}\n", "case.yaml");
  ASSERT_EQ(cases.size(), 2U);
  EXPECT_EQ(cases[0].shape.kv_len, 5);
  EXPECT_EQ(cases[1].mode, Mode::dense);
}

TEST(CheckCase, HasTheVariantsOfAttention) {
  const auto cases = parse_cases("- {q_len: 3, kv_len: 5, sliding_window: 2, softcap: 30, sink_logits: true}\n"
                                 "- {q_len: 9, kv_len: 5, causal: false}\n",
                                 "case.yaml");
  EXPECT_EQ(cases[0].problem.sliding_window, 2);
  EXPECT_EQ(cases[0].problem.softcap, 30.0F);
  EXPECT_TRUE(cases[0].problem.sink_logits);
  EXPECT_NE(cases[0].describe().find("sliding 2 softcap 30 sinks"), std::string::npos);
  EXPECT_NE(cases[1].describe().find("non-causal"), std::string::npos);
  EXPECT_NE(refusal_of("{q_len: 5, kv_len: 5, sliding_window: 3, causal: false}").find("needs causal attention"),
            std::string::npos);
}

TEST(CheckCase, HasSequencesThatArePackedPaddedOrInPages) {
  const auto cases =
      parse_cases("- {serving: packed, sequences: [[1, 333], [0, 40]]}\n"
                  "- {serving: packed, sequences: [[7, 9]], layout: strided, page_size: 64, pages: hnd}\n"
                  "- {serving: padded, sequences: [[1, 2], [3, 4]], q_len: 5, kv_len: 6}\n"
                  "- {serving: padded, batch: 2, q_len: 5, kv_len: 6}\n",
                  "case.yaml");
  EXPECT_EQ(cases[0].call_shape().batch, 2);
  EXPECT_EQ(cases[0].call_shape().kv_len, 333);
  EXPECT_EQ(cases[0].call_shape().total_q, 1);
  EXPECT_EQ(cases[0].call_shape().total_kv, 373);
  EXPECT_NE(cases[0].describe().find("2x1/333"), std::string::npos);
  EXPECT_NE(cases[0].describe().find("packed 1/333 0/40"), std::string::npos);
  EXPECT_EQ(cases[1].call_shape().total_q, 7 + cases[1].rows_between());
  EXPECT_GT(cases[1].rows_between(), 0);
  EXPECT_EQ(cases[1].call_shape().total_kv, 0);
  EXPECT_EQ(cases[1].serving().page_size, 64);
  EXPECT_NE(cases[1].describe().find("pages of 64 hnd"), std::string::npos);
  EXPECT_EQ(cases[2].shape.q_len, 5);
  EXPECT_EQ(cases[2].shape.kv_len, 6);
  EXPECT_EQ(cases[3].lengths().size(), 2U);
  EXPECT_EQ(cases[3].lengths()[1].kv_len, 6);
  EXPECT_NE(refusal_of("{serving: padded, sequences: [[3, 4]], kv_len: 2}").find("must be from 0/0 to"),
            std::string::npos);
  EXPECT_NE(refusal_of("{serving: padded, sequences: [[3, 4, 5]]}").find("must be [q_len, kv_len]"), std::string::npos);
  EXPECT_NE(refusal_of("{sequences: [[3, 4]]}").find("need serving to be packed or padded"), std::string::npos);
  EXPECT_NE(refusal_of("{serving: loose, sequences: [[3, 4]]}").find("serving must be one of plain, packed, padded"),
            std::string::npos);
}

TEST(CheckCase, MayHaveValuesOfFewerChannelsThanKeys) {
  const auto cases = parse_cases("{q_len: 3, kv_len: 5, head_dim: 192, v_head_dim: 128}", "case.yaml");
  EXPECT_EQ(cases[0].problem.v_head_dim, 128);
  EXPECT_NE(cases[0].describe().find("d192 v128"), std::string::npos);
}

TEST(CheckCase, SaysWhereItsMeanKeyIsFrom) {
  const auto cases = parse_cases("- {q_len: 3, kv_len: 5, kbar: policy}\n- {q_len: 3, kv_len: 5}", "case.yaml");
  EXPECT_EQ(cases[0].kbar, KbarSource::policy);
  EXPECT_NE(cases[0].describe().find("kbar policy"), std::string::npos);
  EXPECT_EQ(cases[1].kbar, KbarSource::mean);
  EXPECT_NE(refusal_of("{q_len: 3, kv_len: 5, kbar: yours}").find("kbar must be one of mean, given, policy"),
            std::string::npos);
}

TEST(CheckCase, SaysWhatIsWrongInOneSentence) {
  EXPECT_NE(refusal_of("{q_len: 5, kv_len: 3}").find("q_len 5 is greater than kv_len 3"), std::string::npos);
  EXPECT_NE(refusal_of("{q_len: 5}").find("\"kv_len\" is missing"), std::string::npos);
  EXPECT_NE(refusal_of("{q_len: 5, kv_len: 5, layout: loose}").find("layout must be packed or strided"),
            std::string::npos);
  EXPECT_NE(refusal_of("{q_len: 5, kv_len: 5, seed: -1}").find("seed must not be negative"), std::string::npos);
  EXPECT_NE(refusal_of("{q_len: 5, kv_len: 5, arch: sm_75}").find("sm_75"), std::string::npos);
}

TEST(CheckCase, SaysInWhichFileAndLine) {
  const std::string before = "- q_len: 5\n  kv_len: 5\n";
  for (const char *line : {"dtype: fp8", "estimator: int2", "mode: all", "head_dim: wide", "unknown: 1"}) {
    const std::string refusal = refusal_of(before + "  " + line + "\n");
    EXPECT_EQ(refusal.rfind("case.yaml:3: ", 0), 0U) << line << ": " << refusal;
  }
}

} // namespace
} // namespace sale::check
