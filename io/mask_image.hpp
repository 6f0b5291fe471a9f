// SPDX-License-Identifier: Apache-2.0
// A mask as a PNG: keys from left to right, queries from top to bottom; one panel per query head.
#pragma once

#include "reference/mask.hpp"
#include "sale/types.hpp"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace sale::io {

struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb; ///< [height, width, 3]
};

/// Orange: the reference region R, always kept. Blue: kept by estimate, paler where few of the blocks under a pixel
/// are. White: dropped. Grey: what no row sees. Panels stand in a grid, row after row; batch element 0.
Image draw_mask(const reference::Mask &mask, const Policy &policy, const Problem &problem, const Shape &shape,
                const std::vector<int> &heads);

void write_png(const std::filesystem::path &path, const Image &image);

} // namespace sale::io
