// SPDX-License-Identifier: Apache-2.0
// The emulated device's tensor maps: what its cuTensorMapEncodeTiled writes into the 128 opaque bytes.
#pragma once

#include "emulator/ptx/instruction.hpp"

#include <array>
#include <cstddef>

namespace sale::emulator {

/// The arguments of cuTensorMapEncodeTiled; enumerations by the driver's numbers. Strides are those of dimensions 1 up,
/// in bytes.
struct TensorMap {
  static constexpr u32 max_rank = 5;
  static constexpr std::size_t opaque_bytes = 128;

  u32 type = 0; ///< CUtensorMapDataType
  u32 rank = 0;
  u64 address = 0;
  std::array<u64, max_rank> dimensions{};
  std::array<u64, max_rank - 1> strides{};
  std::array<u32, max_rank> box{};
  std::array<u32, max_rank> element_strides{};
  u32 interleave = 0;   ///< CUtensorMapInterleave
  u32 swizzle = 0;      ///< CUtensorMapSwizzle
  u32 l2_promotion = 0; ///< CUtensorMapL2promotion
  u32 fill = 0;         ///< CUtensorMapFloatOOBfill

  u32 element_bytes() const;
  /// The span within which 16-byte chunks are swizzled: 0, 32, 64 or 128 bytes.
  u32 swizzle_span() const;
  /// How many elements of dimension i a copy moves.
  u32 count(u32 i) const { return i == 0 ? box[0] : (box[i] + element_strides[i] - 1) / element_strides[i]; }
  u32 row_bytes() const { return box[0] * element_bytes(); }
  u32 rows() const;
  u32 box_bytes() const { return rows() * row_bytes(); } ///< What a copy counts, whatever is out of bounds.
  /// From row to row in shared memory: a narrow row leaves the rest of its span as it was.
  u32 pitch() const { return swizzle == 0 ? row_bytes() : swizzle_span(); }
};

/// Empty, or a sentence on what the driver would not accept; then `opaque` stays as it was.
std::string encode_tensor_map(const TensorMap &map, void *opaque);
/// Empty, or a sentence on why these bytes are no tensor map.
std::string decode_tensor_map(const void *opaque, TensorMap &map);

/// Where the hardware keeps the byte that an unswizzled layout has at `address`: 16-byte chunks within a span are
/// permuted by the bits of the shared ADDRESS above them (of tensor copies and wgmma alike), less `base_offset`.
inline u32 swizzle_address(u32 address, u32 span, u32 base_offset = 0) {
  const u32 chunks = span < 32 ? 1 : span / 16;
  return address ^ (((address >> 7U) - base_offset) % chunks << 4U);
}

} // namespace sale::emulator
