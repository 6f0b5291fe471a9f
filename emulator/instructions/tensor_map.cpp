// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/tensor_map.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <type_traits>

namespace sale::emulator {

namespace {

constexpr u64 magic = 0x70616d726f736e74; // "tnsormap"
constexpr u32 max_box = 256;
constexpr u32 max_element_stride = 8;
constexpr u64 max_dimension = u64{1} << 32U;
constexpr u64 max_stride = u64{1} << 40U;

struct ElementType {
  u32 bytes;
  bool floating;
};

// By CUtensorMapDataType: u8, u16, u32, s32, u64, s64, f16, f32, f64, bf16, f32 ftz, tf32, tf32 ftz.
constexpr std::array<ElementType, 13> element_types = {{{1, false},
                                                        {2, false},
                                                        {4, false},
                                                        {4, false},
                                                        {8, false},
                                                        {8, false},
                                                        {2, true},
                                                        {4, true},
                                                        {8, true},
                                                        {2, true},
                                                        {4, true},
                                                        {4, true},
                                                        {4, true}}};

// No padding, so that every byte is checked.
struct Encoded {
  u64 tag = magic;
  u64 address = 0;
  std::array<u64, TensorMap::max_rank - 1> strides{};
  std::array<u32, TensorMap::max_rank> last_index{}; // dimension - 1, which fits
  u32 check = 0;
  std::array<u16, TensorMap::max_rank> box{};
  std::array<u8, TensorMap::max_rank> element_strides{};
  u8 type = 0;
  u8 rank = 0;
  u8 swizzle = 0;
  u8 l2_promotion = 0;
  u8 fill = 0;
  u32 unused = 0;
};
static_assert(sizeof(Encoded) <= TensorMap::opaque_bytes && std::has_unique_object_representations_v<Encoded>);

u32 checksum(Encoded encoded) {
  encoded.check = 0;
  u32 sum = 2166136261U; // FNV-1a
  for (const u8 byte : std::bit_cast<std::array<u8, sizeof(Encoded)>>(encoded)) {
    sum = (sum ^ byte) * 16777619U;
  }
  return sum;
}

std::string check_dimension(const TensorMap &map, u32 i) {
  if (map.dimensions[i] == 0 || map.dimensions[i] > max_dimension) {
    return fmt::format("globalDim[{}] is {}; 1 to 2^32 are possible.", i, map.dimensions[i]);
  }
  if (map.box[i] == 0 || map.box[i] > max_box) {
    return fmt::format("boxDim[{}] is {}; 1 to {} are possible.", i, map.box[i], max_box);
  }
  if (map.element_strides[i] == 0 || map.element_strides[i] > max_element_stride) {
    return fmt::format("elementStrides[{}] is {}; 1 to {} are possible.", i, map.element_strides[i],
                       max_element_stride);
  }
  if (i > 0 && (map.strides[i - 1] % 16 != 0 || map.strides[i - 1] >= max_stride)) {
    return fmt::format("globalStrides[{}] is {} bytes; it must be a multiple of 16 below 2^40.", i - 1,
                       map.strides[i - 1]);
  }
  return {};
}

std::string check_kind(const TensorMap &map) {
  if (map.type >= element_types.size()) {
    return fmt::format("Data type {} is not one that the emulator knows (0 to {}).", map.type,
                       element_types.size() - 1);
  }
  if (map.rank < 1 || map.rank > TensorMap::max_rank) {
    return fmt::format("A tensor map has 1 to {} dimensions, not {}.", TensorMap::max_rank, map.rank);
  }
  if (map.interleave != 0) {
    return "The emulator knows no interleaved tensor maps (CU_TENSOR_MAP_INTERLEAVE_NONE alone).";
  }
  if (map.swizzle > 3) {
    return fmt::format("Swizzle {} is not one that the emulator knows (none, 32, 64 or 128 bytes: 0 to 3).",
                       map.swizzle);
  }
  if (map.l2_promotion > 3) {
    return fmt::format("L2 promotion {} does not exist (0 to 3).", map.l2_promotion);
  }
  if (map.fill > 1 || (map.fill == 1 && !element_types[map.type].floating)) {
    return fmt::format("Fill {} of data type {} does not exist (0, and 1 for floating-point types).", map.fill,
                       map.type);
  }
  return {};
}

std::string check(const TensorMap &map) {
  std::string wrong = check_kind(map);
  if (wrong.empty() && map.address % 16 != 0) {
    wrong = fmt::format("globalAddress {:#x} is not aligned to 16 bytes.", map.address);
  }
  for (u32 i = 0; wrong.empty() && i < map.rank; ++i) {
    wrong = check_dimension(map, i);
  }
  if (wrong.empty() && map.row_bytes() % 16 != 0) {
    wrong = fmt::format("boxDim[0] is {} bytes; it must be a multiple of 16.", map.row_bytes());
  }
  if (wrong.empty() && map.swizzle != 0 && map.row_bytes() > map.swizzle_span()) {
    wrong = fmt::format("boxDim[0] is {} bytes, more than the swizzle's {}.", map.row_bytes(), map.swizzle_span());
  }
  return wrong;
}

} // namespace

u32 TensorMap::element_bytes() const { return element_types[type].bytes; }

u32 TensorMap::swizzle_span() const { return swizzle == 0 ? 0 : 16U << swizzle; }

u32 TensorMap::rows() const {
  u32 product = 1;
  for (u32 i = 1; i < rank; ++i) {
    product *= count(i);
  }
  return product;
}

std::string encode_tensor_map(const TensorMap &map, void *opaque) {
  if (reinterpret_cast<std::uintptr_t>(opaque) % 64 != 0) {
    return "A tensor map's address must be aligned to 64 bytes.";
  }
  if (std::string wrong = check(map); !wrong.empty()) {
    return wrong;
  }
  Encoded encoded;
  encoded.address = map.address;
  for (u32 i = 0; i < map.rank; ++i) {
    encoded.last_index[i] = static_cast<u32>(map.dimensions[i] - 1);
    encoded.box[i] = static_cast<u16>(map.box[i]);
    encoded.element_strides[i] = static_cast<u8>(map.element_strides[i]);
    if (i > 0) {
      encoded.strides[i - 1] = map.strides[i - 1];
    }
  }
  encoded.type = static_cast<u8>(map.type);
  encoded.rank = static_cast<u8>(map.rank);
  encoded.swizzle = static_cast<u8>(map.swizzle);
  encoded.l2_promotion = static_cast<u8>(map.l2_promotion);
  encoded.fill = static_cast<u8>(map.fill);
  encoded.check = checksum(encoded);
  std::memset(opaque, 0, TensorMap::opaque_bytes);
  std::memcpy(opaque, &encoded, sizeof encoded);
  return {};
}

std::string decode_tensor_map(const void *opaque, TensorMap &map) {
  Encoded encoded;
  std::memcpy(&encoded, opaque, sizeof encoded);
  if (encoded.tag != magic || encoded.check != checksum(encoded)) {
    return "These 128 bytes are no tensor map that cuTensorMapEncodeTiled wrote.";
  }
  map = {};
  map.address = encoded.address;
  map.rank = encoded.rank;
  map.strides = encoded.strides;
  for (u32 i = 0; i < map.rank; ++i) {
    map.dimensions[i] = u64{encoded.last_index[i]} + 1;
    map.box[i] = encoded.box[i];
    map.element_strides[i] = encoded.element_strides[i];
  }
  map.type = encoded.type;
  map.swizzle = encoded.swizzle;
  map.l2_promotion = encoded.l2_promotion;
  map.fill = encoded.fill;
  return {};
}

} // namespace sale::emulator
