// SPDX-License-Identifier: Apache-2.0
// A warp's part of a wgmma: 16 rows of A by the columns of B.
//
// Products are exact and summed, with the accumulator, in double by ascending k, then rounded once. The hardware keeps
// fewer bits of 8-bit products' sums.
#pragma once

#include "emulator/instructions/wgmma_shape.hpp"

#include <array>
#include <vector>

namespace sale::emulator {

/// Operands as bytes: rows of A without its zeros, columns of B, each by ascending k.
struct WgmmaOperands {
  std::array<u8, std::size_t{wgmma_rows} * wgmma_row_bytes> a{};
  std::array<u8, std::size_t{wgmma_rows} * wgmma_row_bytes>
      position{}; ///< By A's elements: the k that each stands for.
  std::vector<u8> b;
  bool negate = false;
};

/// d[row·n + column] += a·b, or = a·b; raw 32-bit words (f16: its 16 bits).
void multiply(const WgmmaShape &shape, const WgmmaOperands &operands, bool accumulate, u32 *d);

} // namespace sale::emulator
