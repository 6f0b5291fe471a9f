// SPDX-License-Identifier: Apache-2.0
#include "reference/element.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace sale::reference {
namespace {

TEST(Element, EveryBitPatternSurvivesTheTripToFloatAndBack) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
      const float value = element_to_float(static_cast<std::uint16_t>(bits), dtype);
      const std::uint16_t back = float_to_element(value, dtype);
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(element_to_float(back, dtype)));
      } else {
        ASSERT_EQ(back, bits) << to_string(dtype);
      }
    }
  }
}

TEST(Element, KnownValuesHaveTheirBits) {
  EXPECT_EQ(float_to_bf16(1.0F), 0x3f80);
  EXPECT_EQ(float_to_bf16(-2.5F), 0xc020);
  EXPECT_EQ(float_to_f16(1.0F), 0x3c00);
  EXPECT_EQ(float_to_f16(-2.5F), 0xc100);
  EXPECT_EQ(float_to_f16(65504.0F), 0x7bff);
  EXPECT_EQ(float_to_f16(0x1p-24F), 0x0001);
  EXPECT_EQ(f16_to_float(0x7c00), std::numeric_limits<float>::infinity());
}

TEST(Element, TiesGoToEvenAndOverflowGoesToInfinity) {
  EXPECT_EQ(float_to_bf16(1.0F + 0x1p-8F), 0x3f80);
  EXPECT_EQ(float_to_bf16(1.0F + 0x3p-8F), 0x3f82);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(float_to_f16(1.0F + 0x1p-11F), 0x3c00);
  EXPECT_EQ(float_to_f16(1.0F + 0x3p-11F), 0x3c02);
  EXPECT_EQ(float_to_f16(2.0F - 0x1p-12F), 0x4000);
  EXPECT_EQ(float_to_f16(0x1p-25F), 0x0000);
  EXPECT_EQ(float_to_f16(0x1.8p-24F), 0x0002);
  EXPECT_EQ(float_to_f16(65519.0F), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0F), 0x7c00);
}

TEST(Element, RoundingIsToTheNearestNeighbour) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (std::uint16_t bits = 0; bits < 0x7b00; bits = static_cast<std::uint16_t>(bits + 37)) {
      const float low = element_to_float(bits, dtype);
      const float high = element_to_float(static_cast<std::uint16_t>(bits + 1), dtype);
      EXPECT_EQ(round_to_element(low + 0.25F * (high - low), dtype), low);
      EXPECT_EQ(round_to_element(low + 0.75F * (high - low), dtype), high);
    }
  }
}

} // namespace
} // namespace sale::reference
