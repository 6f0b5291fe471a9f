// SPDX-License-Identifier: Apache-2.0
#include "bench/variant.hpp"

#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale::bench {
namespace {

TEST(Estimate, words_are_read_and_written_alike) {
  for (const char *word : {"exact", "int8", "int4", "fp8", "fp8/64", "fp8/2:4", "fp8/96/2:4"}) {
    EXPECT_EQ(estimate_name(parse_estimate(word, {})), word);
  }
  const Policy policy = parse_estimate("fp8/64/2:4", {});
  EXPECT_EQ(policy.estimator, Estimator::fp8);
  EXPECT_EQ(policy.estimate_dim, 64);
  EXPECT_TRUE(policy.prune_queries);
}

TEST(Estimate, keeps_the_base_but_not_what_was_calibrated_for_its_estimate) {
  Policy base;
  base.tau = 0.5F;
  base.block_k = 64;
  base.estimate_dim = 32;
  base.channels = {1, 2};
  base.shift_per_head = {1};
  const Policy policy = parse_estimate("int8", base);
  EXPECT_EQ(policy.tau, 0.5F);
  EXPECT_EQ(policy.block_k, 64);
  EXPECT_EQ(policy.estimate_dim, 0);
  EXPECT_TRUE(policy.channels.empty());
  EXPECT_TRUE(policy.shift_per_head.empty());
  EXPECT_EQ(estimate_name(base), "int8/32+shift");
}

TEST(Estimate, refuses_other_words) {
  for (const char *word : {"", "fp9", "fp8/", "fp8/many", "fp8/64x", "/64"}) {
    EXPECT_THROW(parse_estimate(word, {}), Error) << word;
  }
}

TEST(MaskRequest, is_exact_or_random_with_a_density) {
  EXPECT_FALSE(parse_mask("exact").density);
  EXPECT_EQ(parse_mask("random:0.05").density, 0.05);
  EXPECT_EQ(parse_mask("random:1").density, 1);
  for (const char *word :
       {"", "random", "random:", "random:1.5", "random:-0.1", "random:nan", "random:0.1x", "Exact"}) {
    EXPECT_THROW(parse_mask(word), Error) << word;
  }
}

TEST(ServingRequest, is_a_way_and_a_number) {
  EXPECT_EQ(parse_serving_request("packed:8").kind, ServingKind::packed);
  EXPECT_EQ(parse_serving_request("packed:8").number, 8);
  EXPECT_EQ(parse_serving_request("paged:64").kind, ServingKind::paged);
  EXPECT_EQ(parse_serving_request("chunks:8K").number, 8192);
  EXPECT_EQ(parse_serving_request("halves").kind, ServingKind::halves);
  for (const char *word : {"", "paged", "paged:", "paged:0", "pages:64", "halves:2"}) {
    EXPECT_THROW(parse_serving_request(word), Error) << word;
  }
}

TEST(Length, is_a_number_of_tokens) {
  EXPECT_EQ(parse_length("1000"), 1000);
  EXPECT_EQ(parse_length("32K"), 32768);
  EXPECT_EQ(parse_length("1M"), 1048576);
  for (const char *word : {"", "K", "0", "-5", "1.5K", "2G", "9999999K", "99999999999"}) {
    EXPECT_THROW(parse_length(word), Error) << word;
  }
  EXPECT_EQ(length_name(131072), "128K");
  EXPECT_EQ(length_name(1000), "1000");
}

} // namespace
} // namespace sale::bench
