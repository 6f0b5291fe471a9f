// SPDX-License-Identifier: Apache-2.0
#include "calibrate/quality.hpp"

#include "calibrate/partial_attention.hpp"
#include "core/parallel_for.hpp"
#include "reference/region.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace sale {

using reference::ceil_div;
using reference::Mask;
using reference::Region;
using reference::region_of;
using reference::Tensors;

Mask mask_at(const Tensors &tensors, const Policy &policy, const std::vector<HeadBlocks> &heads,
             const std::vector<double> &shifts) {
  Mask mask(tensors.shape, tensors.num_q_heads, policy.block_q, policy.block_k);
  for (int h = 0; h < tensors.num_q_heads; ++h) {
    for (int m = 0; m < mask.q_blocks(); ++m) {
      const Region region = region_of(policy, tensors, m);
      for (int j = 0; j < region.visible_blocks; ++j) {
        for (int b = 0; b < tensors.shape.batch && region.in_reference(j); ++b) {
          mask.set(b, h, m, j);
        }
      }
    }
    for (const Block &block : heads[h]) {
      if (block.margin > -shifts[h]) {
        mask.set(block.batch, h, block.query_block, block.key_block);
      }
    }
  }
  return mask;
}

std::vector<MaskQuality> judge_masks(const Tensors &tensors, const Policy &policy, float scale,
                                     const std::vector<Mask> &masks, Part part) {
  std::vector<MaskQuality> result(masks.size());
  std::mutex mutex; // of the result
  const int q_blocks = ceil_div(tensors.shape.q_len, policy.block_q);
  const int heads = tensors.shape.batch * tensors.num_q_heads;
  parallel_for(static_cast<std::int64_t>(heads) * q_blocks, [&](std::int64_t item) {
    const int b = static_cast<int>(item % heads) / tensors.num_q_heads;
    const int h = static_cast<int>(item % heads) % tensors.num_q_heads;
    const int m = q_blocks - 1 - static_cast<int>(item / heads); // the heaviest first
    if (!is_in(part, m)) {
      return;
    }
    const PartialAttention attention(tensors, policy, scale, b, h, m);
    std::vector<MaskQuality> own(masks.size());
    std::vector<double> dense;
    std::vector<double> out;
    for (int r = 0; r < attention.rows(); ++r) {
      const double total = attention.gather(r, [](int) { return true; }, dense);
      double size = 0.0;
      for (const double x : dense) {
        size += std::fabs(x / total);
      }
      for (std::size_t i = 0; i < masks.size(); ++i) {
        const double kept = attention.gather(r, [&](int j) { return masks[i].test(b, h, m, j); }, out);
        own[i].recall.push_back(kept / total);
        own[i].size += size;
        for (std::size_t d = 0; d < dense.size(); ++d) {
          own[i].difference += std::fabs(out[d] / kept - dense[d] / total);
        }
      }
    }
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < masks.size(); ++i) {
      result[i].recall.insert(result[i].recall.end(), own[i].recall.begin(), own[i].recall.end());
      result[i].difference += own[i].difference;
      result[i].size += own[i].size;
    }
  });
  return result;
}

} // namespace sale
