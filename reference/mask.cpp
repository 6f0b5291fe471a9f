// SPDX-License-Identifier: Apache-2.0
#include "reference/mask.hpp"

#include "reference/tensors.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <bit>
#include <utility>

namespace sale::reference {

Mask::Mask(int batch, int num_q_heads, int q_blocks, int k_blocks)
    : batch_(batch), num_q_heads_(num_q_heads), q_blocks_(q_blocks), k_blocks_(k_blocks),
      words_per_row_(ceil_div(ceil_div(k_blocks, 32), 4) * 4),
      words_(static_cast<std::size_t>(batch) * num_q_heads * q_blocks * words_per_row_) {}

Mask::Mask(const Shape &shape, int num_q_heads, int block_q, int block_k)
    : Mask(shape.batch, num_q_heads, ceil_div(shape.q_len, block_q), ceil_div(shape.kv_len, block_k)) {}

std::size_t Mask::word(int b, int h, int q_block, int k_block) const {
  return ((static_cast<std::size_t>(b) * num_q_heads_ + h) * q_blocks_ + q_block) * words_per_row_ + k_block / 32;
}

bool Mask::test(int b, int h, int q_block, int k_block) const {
  return ((words_[word(b, h, q_block, k_block)] >> (k_block % 32)) & 1U) != 0;
}

void Mask::set(int b, int h, int q_block, int k_block, bool value) {
  std::uint32_t &bits = words_[word(b, h, q_block, k_block)];
  const std::uint32_t bit = 1U << (k_block % 32);
  bits = value ? bits | bit : bits & ~bit;
}

void Mask::assign_words(std::vector<std::uint32_t> words) {
  if (words.size() != words_.size()) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a mask of {} words was given; this one has {}", words.size(), words_.size()));
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    const int first = static_cast<int>(i % words_per_row_) * 32; // key block of bit 0
    const int used = k_blocks_ - first;
    const std::uint32_t allowed = used >= 32 ? ~0U : used <= 0 ? 0U : (1U << used) - 1U;
    if ((words[i] & ~allowed) != 0) {
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("mask word {} keeps a key block beyond the last one, {}", i, k_blocks_ - 1));
    }
  }
  words_ = std::move(words);
}

std::size_t Mask::count() const {
  std::size_t total = 0;
  for (const std::uint32_t bits : words_) {
    total += std::popcount(bits);
  }
  return total;
}

std::vector<std::uint8_t> Mask::file_bytes() const {
  const int bytes_per_row = ceil_div(k_blocks_, 8);
  std::vector<std::uint8_t> bytes;
  for (std::size_t row = 0; row < words_.size(); row += words_per_row_) {
    for (int i = 0; i < bytes_per_row; ++i) {
      bytes.push_back(static_cast<std::uint8_t>(words_[row + i / 4] >> (8 * (i % 4))));
    }
  }
  return bytes;
}

Mask Mask::operator&(const Mask &other) const {
  Mask both(batch_, num_q_heads_, q_blocks_, k_blocks_);
  if (other.batch_ != batch_ || other.num_q_heads_ != num_q_heads_ || other.q_blocks_ != q_blocks_ ||
      other.k_blocks_ != k_blocks_) {
    throw Error(ErrorKind::invalid_argument, "masks of different sizes cannot be combined");
  }
  for (std::size_t i = 0; i < words_.size(); ++i) {
    both.words_[i] = words_[i] & other.words_[i];
  }
  return both;
}

} // namespace sale::reference
