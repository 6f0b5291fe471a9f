// SPDX-License-Identifier: Apache-2.0
// wgmma's operands for tests: matrices of small integers, their places in shared memory and registers, plain products.
#pragma once

#include "emulator/instructions/wgmma_shape.hpp"
#include "tests/emulator/instructions/harness.hpp"

#include <random>
#include <string>
#include <vector>

namespace sale::emulator::test {

using Random = std::minstd_rand;

/// Bits of an integer that every type holds exactly.
u32 encode(Element element, int number);

/// Where a matrix is, as wgmma's descriptor says it: lines are rows of A or columns of B.
struct Placement {
  bool k_major = true;
  u32 span = 0; ///< of the swizzle: 0, 32, 64 or 128 bytes
  u32 start = 0;
  u32 leading = 0;
  u32 stride = 0;
  u32 base_offset = 0;
  u32 element_bytes = 2;

  /// One that fits `lines` of `k` elements at `base` (1024-byte aligned), k perhaps part of a longer row.
  static Placement random(Random &random, bool k_major, u32 span, u32 base, u32 lines, u32 k, u32 element_bytes);
  u64 descriptor() const;
  u32 address(u32 line, u32 k) const;
};

/// A product of a warpgroup, and all that goes into it.
struct Product {
  WgmmaShape shape;
  bool a_registers = false;
  bool negate_a = false;
  bool negate_b = false;
  bool accumulate = true;
  u32 selector = 0;
  Placement a_placement;
  Placement b_placement;
  std::vector<int> a; ///< 64 rows of k elements, with the zeros of sparse ones
  std::vector<int> a_stored;
  std::vector<u32> metadata; ///< by thread
  std::vector<int> b;        ///< k rows of n elements
  std::vector<int> d;        ///< 64 rows of n elements

  Product(const std::string &types, u32 n, bool sparse, Random &random);
  void place(Random &random, u32 a_base, u32 b_base, u32 a_span, u32 b_span, bool a_k_major, bool b_k_major);

  std::string opcode() const;
  Instruction instruction() const;
  std::vector<int> expected() const;

  /// By each thread of the warpgroup. The slots hold results afterwards.
  void fill_slots(u32 thread, u64 *slot) const;
  /// What `thread` holds that is not as expected.
  int mismatches(u32 thread, const u64 *slot, const std::vector<int> &wanted) const;
  /// Plain stores of both operands, by one thread.
  void store_operands() const;
  /// Word `register` of A in registers.
  u32 a_word(u32 thread, u32 index) const;

private:
  std::string types_;
};

/// Enough for every wgmma.
using WideSlots = std::array<u64, 160>;

} // namespace sale::emulator::test
