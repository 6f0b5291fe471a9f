// SPDX-License-Identifier: Apache-2.0
#include "reference/float8.hpp"

#include "reference/element.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace sale::reference {
namespace {

struct Format {
  const char *name;
  float (*decode)(std::uint8_t);
  std::uint8_t (*encode)(float);
  std::uint8_t greatest;
};

constexpr Format formats[] = {{"e4m3", e4m3_to_float, float_to_e4m3, 0x7e},
                              {"e5m2", e5m2_to_float, float_to_e5m2, 0x7b}};

TEST(Float8, EveryFiniteCodeSurvivesTheTripToFloatAndBack) {
  for (const Format &format : formats) {
    for (int code = 0; code < 256; ++code) {
      const auto bits = static_cast<std::uint8_t>(code);
      if ((bits & 0x7f) <= format.greatest) {
        ASSERT_EQ(format.encode(format.decode(bits)), bits) << format.name;
      }
    }
  }
}

TEST(Float8, KnownValuesHaveTheirCodes) {
  EXPECT_EQ(e4m3_to_float(0x01), 0x1p-9F);
  EXPECT_EQ(e4m3_to_float(0x08), 0x1p-6F);
  EXPECT_EQ(e4m3_to_float(0x38), 1.0F);
  EXPECT_EQ(e4m3_to_float(0xfe), -448.0F);
  EXPECT_TRUE(std::isnan(e4m3_to_float(0x7f)));
  EXPECT_TRUE(std::isnan(e4m3_to_float(0xff)));
  for (int code = 0; code < 256; ++code) { // e5m2 is the upper byte of an f16
    const float value = e5m2_to_float(static_cast<std::uint8_t>(code));
    const float wide = f16_to_float(static_cast<std::uint16_t>(code << 8));
    ASSERT_TRUE(value == wide || (std::isnan(value) && std::isnan(wide))) << code;
  }
}

TEST(Float8, EveryFloatRoundsToTheNearestCodeAndTiesToEven) {
  for (const Format &format : formats) {
    for (std::uint8_t code = 0; code < format.greatest; ++code) {
      const auto next = static_cast<std::uint8_t>(code + 1);
      const float low = format.decode(code);
      const float high = format.decode(next);
      const float middle = 0.5F * (low + high); // exact
      ASSERT_EQ(format.encode(middle), code % 2 == 0 ? code : next) << format.name;
      ASSERT_EQ(format.encode(std::nextafter(middle, low)), code) << format.name;
      ASSERT_EQ(format.encode(std::nextafter(middle, high)), next) << format.name;
      ASSERT_EQ(format.encode(-std::nextafter(middle, high)), next | 0x80) << format.name;
    }
  }
}

TEST(Float8, WhatIsTooGreatBecomesTheGreatest) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Format &format : formats) {
    const float greatest = format.decode(format.greatest);
    for (const float value : {greatest, std::nextafter(greatest, infinity), 2 * greatest, infinity}) {
      EXPECT_EQ(format.encode(value), format.greatest) << format.name;
      EXPECT_EQ(format.encode(-value), format.greatest | 0x80) << format.name;
    }
    EXPECT_EQ(format.encode(std::nanf("")), 0x7f);
    EXPECT_EQ(format.encode(-0.0F), 0x80);
  }
}

TEST(Float8, TablesHoldEveryCode) {
  for (std::size_t code = 0; code < 256; ++code) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(e4m3_values()[code]),
              std::bit_cast<std::uint32_t>(e4m3_to_float(static_cast<std::uint8_t>(code))));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(e5m2_values()[code]),
              std::bit_cast<std::uint32_t>(e5m2_to_float(static_cast<std::uint8_t>(code))));
  }
}

TEST(Tf32, RoundsToTenBitsOfMantissa) {
  EXPECT_EQ(round_to_tf32_ties_away(1 + 0x1p-11F), 1 + 0x1p-10F);
  EXPECT_EQ(round_to_tf32(1 + 0x1p-11F), 1.0F);
  EXPECT_EQ(round_to_tf32(1 + 0x3p-11F), 1 + 0x1p-9F);
  EXPECT_EQ(round_to_tf32_ties_away(-1 - 0x1.ffp-12F), -1.0F);
  EXPECT_EQ(round_to_tf32(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(round_to_tf32_ties_away(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(std::bit_cast<std::uint32_t>(round_to_tf32(std::nanf(""))), 0x7fffffffU);
}

} // namespace
} // namespace sale::reference
