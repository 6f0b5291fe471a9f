// SPDX-License-Identifier: Apache-2.0
// What dense attention, the exact mask and an estimator say of every estimated block of one input: all that
// calibration needs, computed once.
#pragma once

#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <vector>

namespace sale {

/// One estimated (query block, key block) of one query head. Margins are in nats at shift 0: a shift d keeps the block
/// iff margin > -d, up to rounding.
struct Block {
  int batch = 0;
  int query_block = 0;
  int key_block = 0;
  double mass = 0;         ///< Dense softmax mass, summed over the rows.
  double exact_margin = 0; ///< Of the exact estimate: > 0 iff the exact mask keeps the block.
  double margin = 0;       ///< Of the policy's estimator.

  bool wanted() const { return exact_margin > 0.0; }
};

/// Every estimated block of one query head.
using HeadBlocks = std::vector<Block>;

/// [num_q_heads], `mass` and `exact_margin` filled in. Q and K must be finite.
std::vector<HeadBlocks> exact_blocks(const reference::Tensors &tensors, const Policy &policy, float scale);

/// Fills in `margin` of blocks that exact_blocks gave for the same tensors, tau and block sizes. The policy's shift is
/// ignored. fp8 may keep a little more than its margins say: its thresholds are rounded down.
void estimate_blocks(const reference::Tensors &tensors, Policy policy, float scale, std::vector<HeadBlocks> &heads);

} // namespace sale
