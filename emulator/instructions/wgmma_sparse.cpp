// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/wgmma_sparse.hpp"

#include <fmt/format.h>

namespace sale::emulator {

namespace {

// Rows g and g + 8 belong to lanes 4g .. 4g + 3, four bits to each group of elements.
// 8-bit types: lane 4g + x + 2y has of row g + 8x the groups of half y.
// Others: of the two lanes that the selector picks, lane y has half y: row g in its low 16 bits, row g + 8 above.
u32 nibble_of(bool bytes, const std::array<u32, 32> &metadata, u32 selector, u32 row, u32 group) {
  const u32 quad = row % 8 * 4;
  if (bytes) {
    return metadata[quad + row / 8 + group / 8 * 2] >> group % 8 * 4 & 0xfU;
  }
  return metadata[quad + selector * 2 + group / 4] >> (row / 8 * 16 + group % 4 * 4) & 0xfU;
}

} // namespace

std::string read_metadata(const WgmmaShape &shape, const std::array<u32, 32> &metadata, u64 selector, u8 *position) {
  const bool bytes = shape.element_bytes() == 1;
  if (selector > (bytes ? 0U : 1U)) {
    return fmt::format("sparsity selector {}: 0{} is possible for this type", selector, bytes ? "" : " or 1");
  }
  const bool pairs = shape.element_bytes() == 4; // tf32: one of two elements, as four halves
  const u32 groups = shape.k() / (pairs ? 2 : 4);
  for (u32 row = 0; row < wgmma_rows; ++row) {
    for (u32 group = 0; group < groups; ++group) {
      const u32 nibble = nibble_of(bytes, metadata, static_cast<u32>(selector), row, group);
      const u32 first = nibble & 3U;
      const u32 second = nibble >> 2U;
      if (first == second || (pairs && nibble != 0x4U && nibble != 0xeU)) {
        return fmt::format("metadata {:#06b} of row {}, group {}: {}", nibble, row, group,
                           pairs ? "0b0100 and 0b1110 are possible" : "two different positions are possible");
      }
      if (pairs) {
        *position++ = static_cast<u8>(group * 2 + first / 2);
      } else {
        *position++ = static_cast<u8>(group * 4 + first);
        *position++ = static_cast<u8>(group * 4 + second);
      }
    }
  }
  return {};
}

} // namespace sale::emulator
