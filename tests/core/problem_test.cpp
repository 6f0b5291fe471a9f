// SPDX-License-Identifier: Apache-2.0
// What validate says about the variants of attention: sliding window, softcap, non-causal, learned sinks.
#include "sale/error.hpp"
#include "sale/types.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

namespace sale {
namespace {

std::string sentence_of(const std::function<void()> &call) {
  try {
    call();
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

/// The refusal of the default problem but for `change`; empty when accepted.
std::string refusal(const std::function<void(Problem &)> &change) {
  Problem problem;
  change(problem);
  return sentence_of([&] { validate(problem); });
}

/// The refusal of a policy with fp8_attend.
std::string refusal_of_fp8_attend(const std::function<void(Problem &)> &change) {
  Problem problem;
  change(problem);
  Policy policy;
  policy.fp8_attend = true;
  return sentence_of([&] { validate(policy, problem); });
}

TEST(Problem, WithoutVariantsIsAccepted) {
  EXPECT_EQ(refusal([](Problem &) {}), "");
}

TEST(Problem, OfEveryVariantIsAccepted) {
  EXPECT_EQ(refusal([](Problem &p) { p.causal = false; }), "");
  EXPECT_EQ(refusal([](Problem &p) { p.sliding_window = 1; }), "");
  EXPECT_EQ(refusal([](Problem &p) { p.softcap = 50.0F; }), "");
  EXPECT_EQ(refusal([](Problem &p) { p.sink_logits = true; }), "");
  EXPECT_EQ(refusal([](Problem &p) {
              p.sliding_window = 1 << 24;
              p.softcap = 1000.0F;
              p.sink_logits = true;
            }),
            "");
}

TEST(Shape, HasMoreQueriesThanKeysOnlyWhereAttentionIsNotCausal) {
  const Shape shape{1, 5, 3};
  EXPECT_NE(sentence_of([&] { validate(shape); }).find("q_len 5 is greater than kv_len 3"), std::string::npos);
  EXPECT_EQ(sentence_of([&] { validate(shape, false); }), "");
  const Shape long_shape{1, (1 << 20) + 1, 3};
  EXPECT_NE(sentence_of([&] { validate(long_shape, false); }).find("must be between 0 and 1048576"), std::string::npos);
}

TEST(Problem, ASlidingWindowIsANumberOfKeys) {
  for (const int keys : {-1, (1 << 24) + 1}) {
    EXPECT_EQ(refusal([&](Problem &p) { p.sliding_window = keys; }),
              "sliding_window " + std::to_string(keys) + " must be between 1 and 16777216 keys, or 0 for all of them");
  }
}

TEST(Problem, ASlidingWindowNeedsCausalAttention) {
  EXPECT_EQ(refusal([](Problem &p) {
              p.sliding_window = 64;
              p.causal = false;
            }),
            "sliding_window 64 needs causal attention; set causal to true or sliding_window to 0");
}

TEST(Problem, SoftcapsReachFrom0To1000) {
  const auto said = [](float cap) { return refusal([&](Problem &p) { p.softcap = cap; }); };
  EXPECT_EQ(said(-1.0F), "softcap -1 must be above 0 and at most 1000, or 0 for none");
  EXPECT_EQ(said(1000.5F), "softcap 1000.5 must be above 0 and at most 1000, or 0 for none");
  for (const float cap : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_NE(said(cap).find("must be above 0 and at most 1000"), std::string::npos) << cap;
  }
  EXPECT_EQ(said(1000.0F), "");
}

TEST(Problem, OfFp8AttendHasNeitherSoftcapNorSinkLogits) {
  EXPECT_EQ(refusal_of_fp8_attend([](Problem &) {}), "");
  EXPECT_EQ(refusal_of_fp8_attend([](Problem &p) { p.softcap = 5.0F; }),
            "fp8_attend and softcap exclude each other; set fp8_attend to false");
  EXPECT_EQ(refusal_of_fp8_attend([](Problem &p) { p.sink_logits = true; }),
            "fp8_attend and sink_logits exclude each other; set fp8_attend to false");
}

TEST(Problem, HasValuesOfAsManyChannelsAsKeysOr128BesideThe192OfKeys) {
  const auto said = [](int head_dim, int v_head_dim) {
    return refusal([&](Problem &p) {
      p.head_dim = head_dim;
      p.v_head_dim = v_head_dim;
    });
  };
  for (const int dim : {64, 96, 128, 192, 256}) {
    EXPECT_EQ(said(dim, 0), "");
    EXPECT_EQ(said(dim, dim), "");
  }
  EXPECT_EQ(said(192, 128), "");
  EXPECT_EQ(said(192, 64),
            "v_head_dim 64 with head_dim 192 is not supported; v_head_dim is head_dim (or 0, which means "
            "so), or 128 with head_dim 192");
  for (const auto &[head_dim, v_head_dim] : {std::pair(128, 192), std::pair(256, 128), std::pair(64, -64)}) {
    EXPECT_NE(said(head_dim, v_head_dim).find("is not supported"), std::string::npos) << head_dim;
  }
  EXPECT_EQ(refusal_of_fp8_attend([](Problem &p) {
              p.head_dim = 192;
              p.v_head_dim = 128;
            }),
            "fp8_attend needs a v_head_dim equal to head_dim 192, not 128; set fp8_attend to false");
}

TEST(Problem, NamesWhatNoKernelHas) {
  EXPECT_EQ(refusal([](Problem &p) { p.alibi = true; }),
            "alibi is not supported; no kernel adds a bias to scores, so set it to false");
  EXPECT_EQ(refusal([](Problem &p) { p.dropout = 0.5F; }),
            "dropout 0.5 is not supported; libsale is for inference, so set it to 0");
  EXPECT_EQ(refusal([](Problem &p) { p.backward = true; }),
            "backward is not supported; libsale is for inference, so set it to false");
  EXPECT_EQ(refusal([](Problem &p) { p.kv_type = KvType::fp8_e4m3; }),
            "kv_type is not supported; K and V have the dtype of Q, so leave it at same");
}

} // namespace
} // namespace sale
