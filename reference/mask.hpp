// SPDX-License-Identifier: Apache-2.0
// One bit per (batch, query head, query block, key block), in the layout of docs/numerics.md section 9.
#pragma once

#include "sale/types.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sale::reference {

class Mask {
public:
  Mask() = default;
  /// All bits 0.
  Mask(int batch, int num_q_heads, int q_blocks, int k_blocks);
  /// A mask for one call.
  Mask(const Shape &shape, int num_q_heads, int block_q, int block_k);

  int batch() const { return batch_; }
  int num_q_heads() const { return num_q_heads_; }
  int q_blocks() const { return q_blocks_; }
  int k_blocks() const { return k_blocks_; }
  /// W: u32 words per (batch, head, query block).
  int words_per_row() const { return words_per_row_; }

  bool test(int b, int h, int q_block, int k_block) const;
  /// Not safe for two threads at once on bits of one row.
  void set(int b, int h, int q_block, int k_block, bool value = true);

  const std::vector<std::uint32_t> &words() const { return words_; }
  /// Replaces all words, e.g. by a device's. Throws Error(invalid_argument) when the size differs or an unused bit
  /// is 1.
  void assign_words(std::vector<std::uint32_t> words);

  /// Number of kept blocks.
  std::size_t count() const;
  /// Little-endian bytes, ceil(k_blocks / 8) per row.
  std::vector<std::uint8_t> file_bytes() const;

  /// Blocks that both masks keep; the sizes must be equal.
  Mask operator&(const Mask &other) const;
  bool operator==(const Mask &) const = default;
  /// Every block kept here is kept in `other`.
  bool is_subset_of(const Mask &other) const { return (*this & other) == *this; }

private:
  std::size_t word(int b, int h, int q_block, int k_block) const;

  int batch_ = 0;
  int num_q_heads_ = 0;
  int q_blocks_ = 0;
  int k_blocks_ = 0;
  int words_per_row_ = 0;
  std::vector<std::uint32_t> words_;
};

} // namespace sale::reference
