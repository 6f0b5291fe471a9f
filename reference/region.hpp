// SPDX-License-Identifier: Apache-2.0
// The reference region R of a query block and the blocks that select estimates (docs/numerics.md, section 1).
#pragma once

#include "sale/types.hpp"

namespace sale::reference {

struct Region {
  int visible_blocks = 0; ///< Key blocks 0 .. visible_blocks - 1 hold a key that some row of the query block sees.
  int first_estimated = 0;
  int end_estimated = 0; ///< Blocks [first_estimated, end_estimated) are estimated; all other visible ones are in R.

  bool visible(int block) const { return block < visible_blocks; }
  bool estimated(int block) const { return block >= first_estimated && block < end_estimated; }
  bool in_reference(int block) const { return visible(block) && !estimated(block); }
};

Region region_of(const Policy &policy, const Shape &shape, int query_block);

/// tau and shift of one query head.
float tau_of(const Policy &policy, int q_head);
float shift_of(const Policy &policy, int q_head);

} // namespace sale::reference
