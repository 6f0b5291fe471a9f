// SPDX-License-Identifier: Apache-2.0
#include "core/serving_words.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

TEST(ServingWords, mean_what_they_say_and_are_written_alike) {
  for (const char *word : {"plain", "ragged", "parts", "paged:16", "coded:64", "paged:48+parts", "coded:32+parts",
                           "plain+counted", "paged:16+parts+counted"}) {
    EXPECT_EQ(serving_word(parse_serving(word)), word);
  }
  const Serving both = parse_serving("coded:64+parts");
  EXPECT_EQ(both.page_size, 64);
  EXPECT_TRUE(both.code_cache && both.parts && both.is_ragged());
}

TEST(ServingWords, others_are_refused) {
  for (const char *word :
       {"", "Plain", "paged", "paged:", "paged:x", "paged:0", "paged:-16", "paged:99999999999", "paged:64 ",
        "coded:64+", "coded:64+part", "ragged+parts", "+parts", "parts+parts", "paged:64+parts+parts", "pages:64",
        "counted", "plain+counted+counted", "paged:64+counted+parts"}) {
    EXPECT_THROW(parse_serving(word), Error) << word;
  }
}

} // namespace
} // namespace sale
