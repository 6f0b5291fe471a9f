// SPDX-License-Identifier: Apache-2.0
// wgmma's descriptors of a matrix in shared memory (PTX ISA, "Matrix Descriptor Format" and "Strides").
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

struct MatrixDescriptor {
  u32 start = 0;       ///< Shared address.
  u32 leading = 0;     ///< Bytes.
  u32 stride = 0;      ///< Bytes.
  u32 base_offset = 0; ///< Lines of 128 bytes by which the swizzle's pattern starts late.
  u32 span = 0;        ///< Of the swizzle: 0, 32, 64 or 128 bytes.

  explicit MatrixDescriptor(u64 bits);

  /// Where 16 bytes of an operand are. K-major: those from 16·chunk on of row (or column) `line`. Else (MN-major,
  /// 16-bit elements): eight neighbours from line 8·chunk on, of k = `line`.
  u32 chunk(bool k_major, u32 line, u32 chunk) const;
};

} // namespace sale::emulator
