// SPDX-License-Identifier: Apache-2.0
// The reference region R of a query block and the blocks that select estimates (docs/numerics.md, section 1).
#pragma once

#include "reference/tensors.hpp"
#include "sale/types.hpp"

namespace sale::reference {

struct Region {
  int first_visible = 0;  ///< 0 unless a window slides.
  int visible_blocks = 0; ///< Blocks [first_visible, visible_blocks) hold a key that some row of the query block sees.
  int first_estimated = 0;
  int end_estimated = 0; ///< Blocks [first_estimated, end_estimated) are estimated, but for
  int near_begin = 0;    ///< [near_begin, near_end), which are not where attention is not causal. All other visible
  int near_end = 0;      ///< ones are in R.

  bool visible(int block) const { return block >= first_visible && block < visible_blocks; }
  bool estimated(int block) const {
    return block >= first_estimated && block < end_estimated && !(block >= near_begin && block < near_end);
  }
  bool in_reference(int block) const { return visible(block) && !estimated(block); }
  int visible_count() const { return visible_blocks - first_visible; }
  int estimated_count() const { return end_estimated - first_estimated - (near_end - near_begin); }
};

Region region_of(const Policy &policy, const Tensors &tensors, int query_block);
Region region_of(const Policy &policy, const Problem &problem, const Shape &shape, int query_block);
/// Of plain causal attention.
Region region_of(const Policy &policy, const Shape &shape, int query_block);

/// tau and shift of one query head.
float tau_of(const Policy &policy, int q_head);
float shift_of(const Policy &policy, int q_head);

} // namespace sale::reference
