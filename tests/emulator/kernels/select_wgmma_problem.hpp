// SPDX-License-Identifier: Apache-2.0
// One call of wgmma select with codes, scales and thresholds that its callers hardly give it, and what plain loops make
// of it.
#pragma once

#include "generator/kernel_spec.hpp"
#include "reference/region.hpp"
#include "reference/tensors.hpp"

#include <array>
#include <cstdint>
#include <ostream>
#include <random>
#include <vector>

namespace sale::test {

struct SelectWgmmaCase {
  int width = 128; ///< estimate_dim
  int q_len = 64;
  int kv_len = 256;
  int gqa = 4;
  int block_q = 64;
  int block_k = 32;
  int kv_heads = 2;
  int batch = 1;
  bool pruned = false;
  bool int8 = false; ///< Not fp8.
  int consumers = 4;
  int units = 1; ///< 64 rows each, of a warpgroup
  int keys_per_step = 128;
  int stages = 2;
  int sink = 32;
  int window = 64;
  bool drawn = true; ///< Items come from a counter.
  bool causal = true;
  int sliding_window = 0;
};

std::ostream &operator<<(std::ostream &out, const SelectWgmmaCase &c);

KernelSpec spec_of(const SelectWgmmaCase &c);

/// Codes are small integers, so that every product and sum is exact; scales are powers of two.
class SelectWgmmaProblem {
public:
  explicit SelectWgmmaProblem(const SelectWgmmaCase &with);

  int q_heads() const { return c.batch * c.kv_heads * c.gqa; }
  int all_kv_heads() const { return c.batch * c.kv_heads; }
  int q_padded() const { return reference::ceil_div(c.q_len, 128) * 128; }
  int q_blocks() const { return reference::ceil_div(c.q_len, c.block_q); }
  int k_blocks() const { return reference::ceil_div(c.kv_len, c.block_k); }
  int scales_per_head() const {
    return c.int8 ? reference::ceil_div(c.kv_len, 32) : reference::ceil_div(c.kv_len, 128) * 4;
  }
  int mask_words() const { return reference::ceil_div(reference::ceil_div(k_blocks(), 32), 4) * 4; }
  int stored_width() const { return c.pruned ? c.width / 2 : c.width; }
  std::size_t row_of(int head, int row) const { return static_cast<std::size_t>(head) * q_padded() + row; }

  reference::Region region(int block) const;

  /// D of a pair.
  int product(int head, int row, int key) const;

  bool keeps(int head, int row, int key) const;

  std::vector<std::uint32_t> expected_mask() const;

  /// The metadata words of SelectWgmmaArgs.
  std::vector<std::uint32_t> metadata() const;

  SelectWgmmaCase c;
  std::vector<int> q;              ///< [q_heads, q_padded, stored_width]
  std::vector<int> k;              ///< [all_kv_heads, kv_len, width]
  std::vector<int> patterns;       ///< Of every four channels of Q: which pair is stored.
  std::vector<int> scale_exponent; ///< [all_kv_heads, scales_per_head]
  std::size_t nan_scale = ~std::size_t{0};
  std::vector<float> theta; ///< [q_heads, q_padded]
  std::vector<float> tau;   ///< [num_q_heads]

private:
  static constexpr std::array<std::array<int, 2>, 6> pairs = {{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}};

  int position(int head, int row, int i) const;

  // One row in eight decides: its threshold is one of the largest of its estimates, or so little off that f16 has no
  // number between, but nearer to the next f16.
  void draw_thresholds();

  bool kept(int head, int block, int at) const;

  std::mt19937 random_;
};

/// The mask that the kernel writes, in the present order of threads.
std::vector<std::uint32_t> run(const SelectWgmmaProblem &problem);

} // namespace sale::test
