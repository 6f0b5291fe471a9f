// SPDX-License-Identifier: Apache-2.0
// What a wgmma.mma_async's opcode says: shape, element types, sparsity.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

enum class Element { f16, bf16, tf32, e4m3, e5m2, int8, uint8 };
enum class AccumulatorType { f32, f16, int32 };

/// Rows of a warp's part of the product, and bytes of k of A's rows, zeros left out: the same for every type.
inline constexpr u32 wgmma_rows = 16;
inline constexpr u32 wgmma_row_bytes = 32;

struct WgmmaShape {
  u32 n = 0;
  bool sparse = false; ///< A is 2:4 sparse (tf32: 1:2): k is twice as long, its zeros left out.
  bool saturate = false;
  Element a = Element::f16;
  Element b = Element::f16;
  AccumulatorType accumulator = AccumulatorType::f32;

  u32 element_bytes() const;
  u32 a_columns() const { return wgmma_row_bytes / element_bytes(); } ///< Stored; those of the product are k().
  u32 k() const { return a_columns() * (sparse ? 2 : 1); }
  u32 b_row_bytes() const { return k() * element_bytes(); }
  u32 accumulators() const { return accumulator == AccumulatorType::f16 ? n / 4 : n / 2; } ///< Registers per thread.
};

/// False when it is no shape of wgmma.mma_async.
bool parse_wgmma_shape(const Instruction &instruction, WgmmaShape &shape);

} // namespace sale::emulator
