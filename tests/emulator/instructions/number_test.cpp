// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/number.hpp"

#include "reference/element.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace sale::emulator {
namespace {

TEST(Number, EveryF16AndBf16IsTheFloatOfTheReference) {
  for (u32 bits = 0; bits < 0x10000U; ++bits) {
    const auto short_bits = static_cast<u16>(bits);
    ASSERT_EQ(std::bit_cast<u32>(f16_bits_to_float(bits)), std::bit_cast<u32>(reference::f16_to_float(short_bits)))
        << bits;
    ASSERT_EQ(std::bit_cast<u32>(bf16_bits_to_float(bits)), std::bit_cast<u32>(reference::bf16_to_float(short_bits)))
        << bits;
  }
}

TEST(Number, FloatsRoundAsTheReferenceDoes) {
  std::mt19937 random(5);
  for (u32 i = 0; i < 2'000'000; ++i) {
    // All floats' upper halves in turn, with every kind of lower half: ties, just above, just below, any.
    const u32 low[] = {0x0000U, 0x1000U, 0x0fffU, 0x1001U,
                       0x8000U, 0x7fffU, 0x8001U, static_cast<u32>(random() & 0xffffU)};
    const auto value = std::bit_cast<float>(i << 16U | low[(i >> 16U) % 8]);
    const u16 f16 = float_to_f16_bits(value);
    const u16 bf16 = float_to_bf16_bits(value);
    if (std::isnan(value)) {
      ASSERT_EQ(f16 & 0x7fffU, 0x7fffU);
      ASSERT_EQ(bf16, 0x7fffU);
    } else {
      ASSERT_EQ(f16, reference::float_to_f16(value)) << value;
      ASSERT_EQ(bf16, reference::float_to_bf16(value)) << value;
    }
  }
}

} // namespace
} // namespace sale::emulator
