// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/matrix_descriptor.hpp"

#include "emulator/instructions/tensor_map.hpp"

#include <array>

namespace sale::emulator {

namespace {

constexpr u32 chunk_bytes = 16;
constexpr std::array<u32, 4> spans = {0, 128, 64, 32};

u32 field(u64 bits, u32 shift) { return static_cast<u32>(bits >> shift & 0x3fffU) << 4U; }

} // namespace

MatrixDescriptor::MatrixDescriptor(u64 bits)
    : start(field(bits, 0)), leading(field(bits, 16)), stride(field(bits, 32)),
      base_offset(static_cast<u32>(bits >> 49U & 7U)), span(spans[bits >> 62U]) {}

u32 MatrixDescriptor::chunk(bool k_major, u32 line, u32 chunk) const {
  const u32 group = line / 8;
  const u32 within = line % 8;
  if (span == 0) { // 8 lines of 16 bytes
    const u32 lines = k_major ? stride : leading;
    const u32 chunks = k_major ? leading : stride;
    return start + group * lines + within * chunk_bytes + chunk * chunks;
  }
  const u32 columns = span / chunk_bytes; // 8 lines of `span` bytes, and what is beyond them `leading` further on
  const u32 offset = chunk / columns * leading + chunk % columns * chunk_bytes;
  return swizzle_address(start + group * stride + within * span + offset, span, base_offset);
}

} // namespace sale::emulator
