// SPDX-License-Identifier: Apache-2.0
#include "reference/mask.hpp"

#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale::reference {
namespace {

TEST(Mask, RowsArePaddedToFourWords) {
  EXPECT_EQ(Mask(1, 1, 1, 0).words_per_row(), 0);
  EXPECT_EQ(Mask(1, 1, 1, 1).words_per_row(), 4);
  EXPECT_EQ(Mask(1, 1, 1, 128).words_per_row(), 4);
  EXPECT_EQ(Mask(1, 1, 1, 129).words_per_row(), 8);
}

TEST(Mask, BitJOfARowIsBitJModulo32OfWordJOver32) {
  Mask mask(2, 3, 5, 70);
  mask.set(1, 2, 4, 69);
  const std::size_t row = std::size_t{(1 * 3 + 2) * 5 + 4} * 4;
  ASSERT_EQ(mask.words().size(), 2U * 3 * 5 * 4);
  EXPECT_EQ(mask.words()[row + 2], 1U << 5);
  EXPECT_EQ(mask.count(), 1U);
  EXPECT_TRUE(mask.test(1, 2, 4, 69));
  EXPECT_FALSE(mask.test(1, 2, 4, 68));
  mask.set(1, 2, 4, 69, false);
  EXPECT_EQ(mask.count(), 0U);
}

TEST(Mask, FileBytesAreLittleEndianAndCutToTheKeyBlocks) {
  Mask mask(1, 1, 2, 35);
  mask.set(0, 0, 0, 0);
  mask.set(0, 0, 0, 9);
  mask.set(0, 0, 1, 34);
  const std::vector<std::uint8_t> expected = {1, 2, 0, 0, 0, 0, 0, 0, 0, 4};
  EXPECT_EQ(mask.file_bytes(), expected);
}

TEST(Mask, TakesWordsOfItsSizeButNoBitBeyondTheLastKeyBlock) {
  Mask mask(1, 1, 1, 33);
  mask.assign_words({~0U, 1U, 0U, 0U});
  EXPECT_EQ(mask.count(), 33U);
  EXPECT_THROW(mask.assign_words({0U, 2U, 0U, 0U}), Error);
  EXPECT_THROW(mask.assign_words({0U, 0U, 1U, 0U}), Error);
  EXPECT_THROW(mask.assign_words({0U}), Error);
}

TEST(Mask, SubsetMeansEveryKeptBlockIsKeptThereToo) {
  Mask small(1, 1, 1, 40);
  Mask large(1, 1, 1, 40);
  small.set(0, 0, 0, 39);
  large.set(0, 0, 0, 39);
  large.set(0, 0, 0, 3);
  EXPECT_TRUE(small.is_subset_of(large));
  EXPECT_FALSE(large.is_subset_of(small));
  EXPECT_THROW(small.is_subset_of(Mask(1, 1, 1, 41)), Error);
}

} // namespace
} // namespace sale::reference
