// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/wgmma_product.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

namespace sale::emulator {
namespace {

// Row 0 of A is {x, y, 0, ..}, every column of B {z, w, 0, ..}: 16-bit patterns.
struct Two {
  WgmmaShape shape;
  WgmmaOperands operands;

  Two(AccumulatorType accumulator, std::array<u16, 2> a, std::array<u16, 2> b) {
    shape.n = 8;
    shape.accumulator = accumulator;
    for (u32 i = 0; i < wgmma_rows * shape.a_columns(); ++i) {
      operands.position[i] = static_cast<u8>(i % shape.a_columns());
    }
    std::memcpy(operands.a.data(), a.data(), 4);
    operands.b.resize(std::size_t{shape.n} * shape.b_row_bytes());
    for (u32 column = 0; column < shape.n; ++column) {
      std::memcpy(operands.b.data() + column * shape.b_row_bytes(), b.data(), 4);
    }
  }
  u32 result(u32 before) const {
    std::vector<u32> d(std::size_t{wgmma_rows} * shape.n, before);
    multiply(shape, operands, true, d.data());
    return d[5];
  }
};

constexpr u16 one = 0x3c00;
constexpr u16 two_to_minus_14 = 0x0400;

TEST(WgmmaProduct, SumsAreRoundedOnceToF32) {
  // 1 + 2^-24 + 2^-28: by steps in f32 the first sum would tie to 1, and so would the second.
  const Two two(AccumulatorType::f32, {two_to_minus_14, two_to_minus_14}, {0x1400, 0x0400}); // 2^-10, 2^-14
  EXPECT_EQ(two.result(std::bit_cast<u32>(1.0F)), 0x3f800001U);
}

TEST(WgmmaProduct, SumsAreRoundedOnceToF16) {
  // 2048 + 1 + 2^-28: rounded to f32 first it would be 2049, which ties to 2048 in f16.
  const Two above(AccumulatorType::f16, {one, two_to_minus_14}, {one, two_to_minus_14});
  EXPECT_EQ(above.result(0x6800), 0x6801U);
  const Two below(AccumulatorType::f16, {one, two_to_minus_14}, {one, 0x8400});
  EXPECT_EQ(below.result(0x6800), 0x6800U);
  const Two three(AccumulatorType::f16, {one, 0}, {0x4200, 0}); // 2051 ties to the even 2052
  EXPECT_EQ(three.result(0x6800), 0x6802U);
  const Two under_three(AccumulatorType::f16, {one, two_to_minus_14}, {0x4200, 0x8400});
  EXPECT_EQ(under_three.result(0x6800), 0x6801U);
}

TEST(WgmmaProduct, ANanIsTheOneThatTheHardwareGives) {
  const u16 infinity = 0x7c00;
  const Two single(AccumulatorType::f32, {infinity, infinity}, {one, 0xbc00}); // inf - inf
  EXPECT_EQ(single.result(0), 0x7fffffffU);
  EXPECT_EQ(single.result(0xffc00001U), 0x7fffffffU);
  const Two half(AccumulatorType::f16, {infinity, infinity}, {one, 0xbc00});
  EXPECT_EQ(half.result(0), 0x7fffU);
}

TEST(WgmmaProduct, F16OverflowsToInfinityAndKeepsSubnormals) {
  const Two great(AccumulatorType::f16, {0x7bff, 0}, {one, 0});
  EXPECT_EQ(great.result(0x7bff), 0x7c00U);
  const Two small(AccumulatorType::f16, {0x0001, 0}, {one, 0});
  EXPECT_EQ(small.result(0x0002), 0x0003U);
}

TEST(WgmmaProduct, WhatASparseMatrixLeavesOutIsNotMultiplied) {
  Two two(AccumulatorType::f32, {one, one}, {one, 0x7e00}); // NaN at k = 1 of B
  two.shape.sparse = true;
  two.operands.b.assign(std::size_t{8} * two.shape.b_row_bytes(), 0);
  for (u32 column = 0; column < 8; ++column) {
    const std::array<u16, 4> b = {one, 0x7e00, 0x4000, 0x7e00}; // 1, NaN, 2, NaN
    std::memcpy(two.operands.b.data() + column * two.shape.b_row_bytes(), b.data(), 8);
  }
  for (u32 i = 0; i < two.operands.position.size(); ++i) {
    two.operands.position[i] = static_cast<u8>(i % 16 * 2);
  }
  EXPECT_EQ(std::bit_cast<float>(two.result(0)), 3.0F);
}

} // namespace
} // namespace sale::emulator
