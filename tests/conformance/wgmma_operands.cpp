// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/wgmma_operands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sale::conformance {

Type WgmmaCase::type() const {
  switch (shape.operand) {
  case WgmmaOperand::bf16: return Type::bf16;
  case WgmmaOperand::f16: return Type::f16;
  case WgmmaOperand::e4m3: return Type::e4m3;
  case WgmmaOperand::s8: return Type::s8;
  }
  return Type::bf16;
}

std::string WgmmaCase::name() const {
  static constexpr std::array<const char *, 3> results = {"f32", "f16", "s32"};
  return fmt::format("{type}_{result}_n{n}_{source}{sparse}{major}_swizzle_{swizzle}{fill}",
                     fmt::arg("type", name_of(type())),
                     fmt::arg("result", results[static_cast<std::size_t>(shape.result)]), fmt::arg("n", shape.n),
                     fmt::arg("source", shape.a_in_registers ? "registers" : "shared"),
                     fmt::arg("sparse", shape.sparse ? "_sparse" : ""),
                     fmt::arg("major", shape.b_mn_major ? "_mn" : ""), fmt::arg("swizzle", swizzle_bytes),
                     fmt::arg("fill", fill == Fill::small_integers ? ""
                                      : fill == Fill::reals        ? "_reals"
                                                                   : "_any_bits"));
}

// Spans of the swizzle's width along k, one after the other; in each, rows one after the other.
WgmmaLayout WgmmaLayout::k_major(int rows, int width, int element_bytes, int swizzle_bytes) {
  WgmmaLayout layout(false, element_bytes, swizzle_bytes);
  const int row_bytes = width * element_bytes;
  if (swizzle_bytes == 0) { // Core matrices: those of 8 rows side by side, 8 rows after 8 rows.
    layout.leading_bytes_ = 128;
    layout.stride_bytes_ = 8 * row_bytes;
    layout.bytes_ = rows * row_bytes;
  } else {
    layout.leading_bytes_ = rows * swizzle_bytes; // Used where a step is wider than the swizzle: B of a sparse A.
    layout.stride_bytes_ = 8 * swizzle_bytes;
    layout.span_stride_ = rows * swizzle_bytes;
    layout.bytes_ = (row_bytes + swizzle_bytes - 1) / swizzle_bytes * layout.span_stride_;
  }
  return layout;
}

// Without swizzle: core matrices of 8 k by 8 rows, those along m or n side by side. With it: patterns of 8 k by the
// swizzle's width, those along k side by side.
WgmmaLayout WgmmaLayout::mn_major(int rows, int width, int swizzle_bytes) {
  WgmmaLayout layout(true, 2, swizzle_bytes);
  if (swizzle_bytes == 0) {
    layout.stride_bytes_ = 128;
    layout.leading_bytes_ = rows / 8 * 128;
    layout.bytes_ = width / 8 * layout.leading_bytes_;
  } else {
    layout.stride_bytes_ = 8 * swizzle_bytes;
    layout.leading_bytes_ = width * swizzle_bytes;
    layout.bytes_ = (2 * rows + swizzle_bytes - 1) / swizzle_bytes * layout.leading_bytes_;
  }
  return layout;
}

int WgmmaLayout::linear(int row, int k) const {
  if (mn_major_) {
    const int row_byte = 2 * row;
    return swizzle_bytes_ == 0
               ? row / 8 * stride_bytes_ + k / 8 * leading_bytes_ + k % 8 * 16 + row_byte % 16
               : row_byte / swizzle_bytes_ * leading_bytes_ + k * swizzle_bytes_ + row_byte % swizzle_bytes_;
  }
  const int k_byte = k * element_bytes_;
  return swizzle_bytes_ == 0 ? row / 8 * stride_bytes_ + k_byte / 16 * leading_bytes_ + row % 8 * 16 + k_byte % 16
                             : k_byte / swizzle_bytes_ * span_stride_ + row * swizzle_bytes_ + k_byte % swizzle_bytes_;
}

// The pattern repeats every 8 rows of 128 bytes, whatever the width: bits 4.. are changed by bits 7...
std::size_t WgmmaLayout::offset(int row, int k) const {
  const int at = linear(row, k);
  const int pieces = swizzle_bytes_ / 16;
  return static_cast<std::size_t>(pieces == 0 ? at : at ^ (((at >> 7) & (pieces - 1)) << 4));
}

int WgmmaLayout::step_offset(int k) const { return linear(0, k); }

namespace {

// PTX ISA: the pairs of positions that metadata may name.
constexpr std::array<u32, 6> valid_patterns = {0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110};

} // namespace

WgmmaOperands::WgmmaOperands(const WgmmaCase &test, Random &random)
    : test_(test), a_total_(WgmmaCase::steps * test.a_width()), b_total_(WgmmaCase::steps * test.b_width()),
      a_layout_(WgmmaLayout::k_major(64, a_total_, bits_of(test.type()) / 8, test.swizzle_bytes)),
      b_layout_(test.shape.b_mn_major
                    ? WgmmaLayout::mn_major(test.shape.n, b_total_, test.swizzle_bytes)
                    : WgmmaLayout::k_major(test.shape.n, b_total_, bits_of(test.type()) / 8, test.swizzle_bytes)) {
  for (int i = 0; i < 64 * a_total_; ++i) {
    a_.push_back(random_element(test.type(), test.fill, random));
  }
  for (int i = 0; i < test.shape.n * b_total_; ++i) {
    b_.push_back(random_element(test.type(), test.fill, random));
  }
  for (int i = 0; i < WgmmaCase::steps * 128; ++i) {
    u32 word = 0;
    for (int nibble = 0; nibble < 8; ++nibble) {
      word = word << 4 | valid_patterns[random.below(valid_patterns.size())];
    }
    metadata_.push_back(word);
  }
}

std::vector<u8> WgmmaOperands::shared_bytes() const {
  const Type type = test_.type();
  const auto element_bytes = static_cast<std::size_t>(bits_of(type) / 8);
  std::vector<u8> bytes(static_cast<std::size_t>(total_bytes()), 0);
  for (int row = 0; row < 64; ++row) {
    for (int k = 0; k < a_total_; ++k) {
      put(type, bytes, a_layout_.offset(row, k) / element_bytes, a(row, k));
    }
  }
  const auto b_first = static_cast<std::size_t>(b_offset());
  for (int column = 0; column < test_.shape.n; ++column) {
    for (int k = 0; k < b_total_; ++k) {
      put(type, bytes, (b_first + b_layout_.offset(column, k)) / element_bytes, b(column, k));
    }
  }
  return bytes;
}

// As mma.cuh says, warp w with rows 16w to 16w + 15.
u32 WgmmaOperands::a_register(int step, int thread, int index) const {
  const int lane = thread % 32;
  const int row = thread / 32 * 16 + lane / 4 + 8 * (index % 2);
  const int element_bits = bits_of(test_.type());
  const int first = step * test_.a_width() + (4 * (lane % 4) + 16 * (index / 2)) * 8 / element_bits;
  u32 word = 0;
  for (int i = 0; i < 32 / element_bits; ++i) {
    word |= a(row, first + i) << (i * element_bits);
  }
  return word;
}

// 16-bit types have 8 groups in a row and step: lanes 0 and 1 of four name half of them each, for row lane/4 in the low
// half of the word, for row lane/4 + 8 in the high one. 8-bit types have 16: lanes 0 and 1 name the first 8, of row
// lane/4 and of row lane/4 + 8, lanes 2 and 3 the others.
u32 WgmmaOperands::pattern(int row, int group) const {
  const int groups = test_.a_width() / 2;
  const int step = group / groups;
  const int in_step = group % groups;
  const int quad = row / 16 * 32 + row % 8 * 4;
  const int second = row % 16 / 8;
  if (groups == 8) {
    return metadata(step, quad + in_step / 4) >> (16 * second + 4 * (in_step % 4)) & 0xfU;
  }
  return metadata(step, quad + 2 * (in_step / 8) + second) >> (4 * (in_step % 8)) & 0xfU;
}

std::vector<double> WgmmaOperands::product() const {
  const Type type = test_.type();
  std::vector<double> d;
  for (int row = 0; row < 64; ++row) {
    for (int column = 0; column < test_.shape.n; ++column) {
      double sum = 0;
      for (int k = 0; k < a_total_; ++k) {
        int b_k = k;
        if (test_.shape.sparse) {
          const u32 two = pattern(row, k / 2);
          b_k = k / 2 * 4 + static_cast<int>(k % 2 == 0 ? two & 3U : two >> 2);
        }
        sum += decode(type, a(row, k)) * decode(type, b(column, b_k));
      }
      d.push_back(sum);
    }
  }
  return d;
}

} // namespace sale::conformance
