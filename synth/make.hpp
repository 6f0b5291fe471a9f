// SPDX-License-Identifier: Apache-2.0
// Synthetic Q, K and V with the structure of real attention heads (docs/synth.md).
#pragma once

#include "sale/types.hpp"
#include "synth/structure.hpp"

#include <cstdint>
#include <vector>

namespace sale::synth {

/// Query rows that look for one key. Positions count from the sequence's start.
struct Needle {
  int batch = 0;
  int kv_head = 0;
  int first_q_head = 0;
  int end_q_head = 0;
  int first_row = 0;
  int end_row = 0;
  int key = 0;
};

/// Bits of the problem's element type, densely packed.
struct Qkv {
  std::vector<std::uint16_t> q; ///< [batch, num_q_heads, q_len, head_dim]
  std::vector<std::uint16_t> k; ///< [batch, num_kv_heads, kv_len, head_dim]
  std::vector<std::uint16_t> v; ///< [batch, num_kv_heads, kv_len, v_head_dim]
  std::vector<Needle> needles;
};

/// The same bits for the same arguments, whatever the compiler, machine and number of threads (`jobs`, 0 = one per
/// core). A row depends on its position, not on q_len: a chunk's queries are rows of the whole prefill's.
/// Throws Error(invalid_argument).
Qkv make(const Problem &problem, const Shape &shape, const Structure &structure, std::uint64_t seed = fixed_seed,
         int jobs = 0);

} // namespace sale::synth
