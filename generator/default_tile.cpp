// SPDX-License-Identifier: Apache-2.0
// Tiles for devices that nobody has tuned: the largest that fit registers and shared memory.
#include "generator/kernel_spec.hpp"

namespace sale {

namespace {

// 32 rows per warp halve the shared-memory reads per product, as long as output and scores fit 255 registers. Measured
// on an H100 with all blocks kept and with structured masks (bench/README.md).
Tile attend_tile(const KernelSpec &spec) {
  if (spec.head_dim <= 64) {
    return {.rows_per_warp = 32, .warps = 4, .keys_per_step = 128, .stages = 2, .min_ctas = 2};
  }
  if (spec.head_dim <= 128) {
    return {.rows_per_warp = 32, .warps = 4, .keys_per_step = 64, .stages = 2, .min_ctas = 2};
  }
  if (spec.arch.max_shared_memory() >= 192 * 1024) {
    return {.rows_per_warp = 16, .warps = 8, .keys_per_step = 64, .stages = 2, .min_ctas = 1};
  }
  if (spec.arch.max_shared_memory() >= 160 * 1024) {
    return {.rows_per_warp = 16, .warps = 8, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  }
  return {.rows_per_warp = 16, .warps = 4, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
}

} // namespace

Tile default_tile(const KernelSpec &spec) {
  switch (spec.stage) {
  case Stage::mean: return {.rows_per_warp = 16, .warps = 8, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  case Stage::quantize: return {.rows_per_warp = 16, .warps = 4, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  case Stage::prepare:
    return {.rows_per_warp = 16, .warps = spec.block_q / 16, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  case Stage::select: return {.rows_per_warp = 32, .warps = 4, .keys_per_step = 64, .stages = 2, .min_ctas = 1};
  case Stage::attend: return attend_tile(spec);
  }
  return {};
}

} // namespace sale
