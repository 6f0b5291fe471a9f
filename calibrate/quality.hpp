// SPDX-License-Identifier: Apache-2.0
// How good many masks of one input are, in one pass over its attention.
#pragma once

#include "calibrate/shift.hpp"
#include "reference/mask.hpp"

#include <vector>

namespace sale {

/// Against dense attention (docs/numerics.md, section 10).
struct MaskQuality {
  std::vector<double> recall; ///< Of every row, in any order: dense attention mass inside the mask.
  double difference = 0;      ///< sum |out - dense|
  double size = 0;            ///< sum |dense|

  double rel_l1() const { return size > 0.0 ? difference / size : 0.0; }
};

/// The mask of one shift per query head: R, and every block with margin > -shift.
reference::Mask mask_at(const reference::Tensors &tensors, const Policy &policy, const std::vector<HeadBlocks> &heads,
                        const std::vector<double> &shifts);

/// Over the rows of `part`. The masks keep R (docs/numerics.md, section 1); block sizes are the policy's.
std::vector<MaskQuality> judge_masks(const reference::Tensors &tensors, const Policy &policy, float scale,
                                     const std::vector<reference::Mask> &masks, Part part = Part::whole);

} // namespace sale
