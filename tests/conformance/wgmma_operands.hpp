// SPDX-License-Identifier: Apache-2.0
// The matrices of one wgmma case: their values, their bytes in shared memory, their descriptors and their product.
#pragma once

#include "generator/wgmma_source.hpp"
#include "tests/conformance/number.hpp"

#include <string>
#include <vector>

namespace sale::conformance {

struct WgmmaCase {
  WgmmaShape shape;
  int swizzle_bytes = 128; ///< Of A and B; 0 = none.
  Fill fill = Fill::small_integers;
  static constexpr int steps = 2; ///< wgmmas, one after the other along k.

  Type type() const;
  std::string name() const;
  /// Elements in one step: of A as stored, and of B.
  int a_width() const { return 256 / bits_of(type()); }
  int b_width() const { return a_width() * (shape.sparse ? 2 : 1); }
};

/// A matrix in shared memory: where its elements lie, and the descriptor's fields.
class WgmmaLayout {
public:
  /// `rows` of m or n, `width` elements along k in all.
  static WgmmaLayout k_major(int rows, int width, int element_bytes, int swizzle_bytes);
  static WgmmaLayout mn_major(int rows, int width, int swizzle_bytes);

  int bytes() const { return bytes_; }
  int leading_bytes() const { return leading_bytes_; }
  int stride_bytes() const { return stride_bytes_; }
  /// Byte offset of an element, swizzle applied.
  std::size_t offset(int row, int k) const;
  /// What the descriptor's address is for the step that begins at `k`.
  int step_offset(int k) const;

private:
  WgmmaLayout(bool mn_major, int element_bytes, int swizzle_bytes)
      : mn_major_(mn_major), element_bytes_(element_bytes), swizzle_bytes_(swizzle_bytes) {}
  int linear(int row, int k) const;

  bool mn_major_;
  int element_bytes_;
  int swizzle_bytes_;
  int leading_bytes_ = 0;
  int stride_bytes_ = 0;
  int span_stride_ = 0; ///< K-major: from one span of the swizzle's width along k to the next.
  int bytes_ = 0;
};

class WgmmaOperands {
public:
  WgmmaOperands(const WgmmaCase &test, Random &random);

  /// Shared memory, A then B, both as their layouts say.
  std::vector<u8> shared_bytes() const;
  /// Word `index` (0 to 3) of A's fragment of thread t in a step.
  u32 a_register(int step, int thread, int index) const;
  u32 metadata(int step, int thread) const { return metadata_[static_cast<std::size_t>(128 * step + thread)]; }
  /// What every thread's D is in the end, 64 x n in order of rows; small integers only.
  std::vector<double> product() const;

  const WgmmaLayout &a_layout() const { return a_layout_; }
  const WgmmaLayout &b_layout() const { return b_layout_; }
  int b_offset() const { return (a_layout_.bytes() + 1023) / 1024 * 1024; }
  int total_bytes() const { return b_offset() + b_layout_.bytes(); }

private:
  u32 a(int row, int k) const { return a_[static_cast<std::size_t>(row * a_total_ + k)]; }
  u32 b(int column, int k) const { return b_[static_cast<std::size_t>(column * b_total_ + k)]; }
  /// Which two of the four elements of B's group `group` the two stored elements of A meet: first + 4 * second.
  u32 pattern(int row, int group) const;

  WgmmaCase test_;
  int a_total_; ///< Elements of a row of A as stored, all steps.
  int b_total_;
  std::vector<u32> a_;
  std::vector<u32> b_;
  std::vector<u32> metadata_;
  WgmmaLayout a_layout_;
  WgmmaLayout b_layout_;
};

} // namespace sale::conformance
