// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/tensor_map.hpp"

#include <gtest/gtest.h>

namespace sale::emulator {
namespace {

struct alignas(64) Opaque {
  std::array<u8, TensorMap::opaque_bytes> bytes{};
};

TensorMap good() {
  TensorMap map;
  map.type = 9; // bf16
  map.rank = 3;
  map.address = 0x10000;
  map.dimensions = {128, 1000, 8};
  map.strides = {256, 256000};
  map.box = {64, 32, 1};
  map.element_strides = {1, 1, 1};
  map.swizzle = 3;
  map.l2_promotion = 2;
  map.fill = 1;
  return map;
}

void expect_refusal(const std::string &words, const TensorMap &map) {
  Opaque opaque;
  opaque.bytes.fill(0x5a);
  const std::string wrong = encode_tensor_map(map, &opaque);
  EXPECT_NE(wrong.find(words), std::string::npos) << wrong;
  EXPECT_EQ(opaque.bytes[0], 0x5a);
  EXPECT_EQ(opaque.bytes[127], 0x5a);
}

TEST(TensorMap, ComesBackFromItsOpaqueBytes) {
  Opaque opaque;
  ASSERT_EQ(encode_tensor_map(good(), &opaque), "");
  TensorMap map;
  ASSERT_EQ(decode_tensor_map(&opaque, map), "");
  EXPECT_EQ(map.type, 9U);
  EXPECT_EQ(map.rank, 3U);
  EXPECT_EQ(map.address, 0x10000U);
  EXPECT_EQ(map.dimensions, good().dimensions);
  EXPECT_EQ(map.strides, good().strides);
  EXPECT_EQ(map.box, good().box);
  EXPECT_EQ(map.element_strides, good().element_strides);
  EXPECT_EQ(map.swizzle_span(), 128U);
  EXPECT_EQ(map.l2_promotion, 2U);
  EXPECT_EQ(map.fill, 1U);
  EXPECT_EQ(map.box_bytes(), 64U * 32 * 2);
}

TEST(TensorMap, GreatDimensionsFit) {
  TensorMap map = good();
  map.dimensions = {u64{1} << 32U, 1, 1};
  map.strides = {(u64{1} << 40U) - 16, 0};
  Opaque opaque;
  ASSERT_EQ(encode_tensor_map(map, &opaque), "");
  TensorMap back;
  ASSERT_EQ(decode_tensor_map(&opaque, back), "");
  EXPECT_EQ(back.dimensions[0], u64{1} << 32U);
  EXPECT_EQ(back.strides[0], (u64{1} << 40U) - 16);
}

TEST(TensorMap, AnyChangedByteIsNoticed) {
  Opaque opaque;
  ASSERT_EQ(encode_tensor_map(good(), &opaque), "");
  TensorMap map;
  for (std::size_t i = 0; i < 96; ++i) {
    opaque.bytes[i] ^= 0x10U;
    EXPECT_NE(decode_tensor_map(&opaque, map), "") << i;
    opaque.bytes[i] ^= 0x10U;
  }
  const Opaque zeros;
  EXPECT_EQ(decode_tensor_map(&zeros, map), "These 128 bytes are no tensor map that cuTensorMapEncodeTiled wrote.");
}

TEST(TensorMap, RefusesWhatTheDriverRefuses) {
  const auto with = [](const auto &change) {
    TensorMap map = good();
    change(map);
    return map;
  };
  expect_refusal("Data type 13", with([](TensorMap &m) { m.type = 13; }));
  expect_refusal("1 to 5 dimensions, not 0", with([](TensorMap &m) { m.rank = 0; }));
  expect_refusal("1 to 5 dimensions, not 6", with([](TensorMap &m) { m.rank = 6; }));
  expect_refusal("not aligned to 16 bytes", with([](TensorMap &m) { m.address += 8; }));
  expect_refusal("globalDim[1] is 0", with([](TensorMap &m) { m.dimensions[1] = 0; }));
  expect_refusal("globalDim[0] is 4294967297", with([](TensorMap &m) { m.dimensions[0] = (u64{1} << 32U) + 1; }));
  expect_refusal("globalStrides[1] is 8", with([](TensorMap &m) { m.strides[1] = 8; }));
  expect_refusal("globalStrides[0] is 1099511627776", with([](TensorMap &m) { m.strides[0] = u64{1} << 40U; }));
  expect_refusal("boxDim[1] is 0", with([](TensorMap &m) { m.box[1] = 0; }));
  expect_refusal("boxDim[1] is 257", with([](TensorMap &m) { m.box[1] = 257; }));
  expect_refusal("boxDim[0] is 24 bytes", with([](TensorMap &m) { m.box[0] = 12; }));
  expect_refusal("boxDim[0] is 256 bytes, more than the swizzle's 128", with([](TensorMap &m) { m.box[0] = 128; }));
  expect_refusal("more than the swizzle's 64", with([](TensorMap &m) { m.swizzle = 2; }));
  expect_refusal("more than the swizzle's 32", with([](TensorMap &m) { m.swizzle = 1; }));
  expect_refusal("elementStrides[2] is 9", with([](TensorMap &m) { m.element_strides[2] = 9; }));
  expect_refusal("elementStrides[0] is 0", with([](TensorMap &m) { m.element_strides[0] = 0; }));
  expect_refusal("no interleaved tensor maps", with([](TensorMap &m) { m.interleave = 1; }));
  expect_refusal("Swizzle 4", with([](TensorMap &m) { m.swizzle = 4; }));
  expect_refusal("L2 promotion 4", with([](TensorMap &m) { m.l2_promotion = 4; }));
  expect_refusal("Fill 2", with([](TensorMap &m) { m.fill = 2; }));
  expect_refusal("Fill 1 of data type 1", with([](TensorMap &m) { m.type = 1; }));
}

TEST(TensorMap, ItsOwnAddressIsAligned) {
  std::array<Opaque, 2> opaque;
  EXPECT_EQ(encode_tensor_map(good(), opaque[0].bytes.data() + 32),
            "A tensor map's address must be aligned to 64 bytes.");
}

TEST(Swizzle, PermutesChunksOfASpanByTheBitsAboveIt) {
  for (const u32 span : {0U, 32U, 64U, 128U}) {
    for (u32 address = 0; address < 4096; address += 16) {
      const u32 line = address / 128;
      const u32 chunks = std::max(span / 16, 1U);
      const u32 chunk = address / 16 % chunks ^ line % chunks;
      EXPECT_EQ(swizzle_address(address, span), address / (16 * chunks) * (16 * chunks) + 16 * chunk);
    }
  }
}

} // namespace
} // namespace sale::emulator
