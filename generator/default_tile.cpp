// SPDX-License-Identifier: Apache-2.0
// Tiles for devices that nobody has tuned: the fastest measured on an H100, made to fit the shared memory and registers
// of others.
#include "generator/kernel_spec.hpp"

#include <algorithm>

namespace sale {

namespace {

// Wide tiles: what a step costs beside its products counts for more than stages. Measured on an H100.
Tile attend_wgmma_tile(const KernelSpec &spec) {
  if (spec.fp8_attend) {
    switch (spec.head_dim) {
    case 64: return {.rows_per_warp = 16, .warps = 8, .keys_per_step = spec.second_filter ? 192 : 256, .stages = 4};
    case 128: return {.rows_per_warp = 16, .warps = 8, .keys_per_step = spec.second_filter ? 96 : 160, .stages = 4};
    default: return {.rows_per_warp = 16, .warps = 8, .keys_per_step = 64, .stages = 3};
    }
  }
  switch (spec.head_dim) {
  case 64: // narrow rows leave registers for more keys; the filter and the cap take some
    return {
        .rows_per_warp = 16, .warps = 8, .keys_per_step = spec.second_filter || spec.softcap ? 128 : 192, .stages = 4};
  case 128: {
    const bool filtered = spec.second_filter;
    return {.rows_per_warp = 16, .warps = 8, .keys_per_step = filtered ? 96 : 128, .stages = filtered ? 4 : 3};
  }
  case 192: return {.rows_per_warp = 16, .warps = 8, .keys_per_step = spec.v_width() == 128 ? 128 : 96, .stages = 2};
  default: // the filter of a part leaves no registers for more
    return {.rows_per_warp = 16, .warps = 8, .keys_per_step = spec.second_filter && spec.parts ? 32 : 64, .stages = 2};
  }
}

// 32 rows per warp halve the shared-memory reads per product, as long as output and scores fit 255 registers and two
// CTAs fit an SM. Measured on an H100 with all blocks kept and with structured masks.
Tile attend_tile(const KernelSpec &spec) {
  if (spec.family() == KernelFamily::wgmma) {
    return attend_wgmma_tile(spec);
  }
  const int shared_memory = spec.arch.max_shared_memory();
  if (spec.head_dim == 192) { // fits where 256 does not
    const bool wide = shared_memory >= 160 * 1024;
    return {.rows_per_warp = 16, .warps = 8, .keys_per_step = wide ? 64 : 32, .stages = 2, .min_ctas = 1};
  }
  if (spec.head_dim > 128) {
    if (shared_memory < 160 * 1024) {
      return {.rows_per_warp = 16, .warps = 4, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
    }
    const bool wide = shared_memory >= 192 * 1024 && spec.arch.major < 10;
    return {.rows_per_warp = 16, .warps = 8, .keys_per_step = wide ? 64 : 32, .stages = 2, .min_ctas = 1};
  }
  const int keys = spec.head_dim <= 64 ? 128 : 64;
  if (shared_memory < 160 * 1024) {
    // One CTA an SM: eight warps hide latency that four cannot.
    return {.rows_per_warp = 16, .warps = 8, .keys_per_step = keys, .stages = 2, .min_ctas = 1};
  }
  // From sm_100 on ptxas needs more registers for the same source. Half a step keeps it from spilling, but where the
  // walk's masks take the most of them only half the rows do.
  if (spec.arch.major >= 10 && spec.head_dim > 96 && spec.block_q == 128 && spec.block_k == 32 && !spec.dense) {
    return {.rows_per_warp = 16, .warps = 8, .keys_per_step = 64, .stages = 2, .min_ctas = 1};
  }
  // So do caps beside a window or a mask of a ragged batch (and then of a plain one, which rounds alike), and windows
  // of a part.
  const bool more = (spec.softcap && (spec.sliding || !spec.dense)) || (spec.parts && spec.sliding);
  const bool half = spec.arch.major >= 10 || (more && spec.head_dim > 96);
  return {.rows_per_warp = 32, .warps = 4, .keys_per_step = half ? keys / 2 : keys, .stages = 2, .min_ctas = 2};
}

// 256 keys at a time halve what a step costs beside its products, where Q leaves the registers. Two units of 64 rows a
// warpgroup then halve what comes from L2 per estimate; where the products alone keep the GPU at its power limit, one
// is as fast, and its smaller items share the work out better. int8's sums are twice as large. Measured on an H100.
Tile select_wgmma_tile(const KernelSpec &spec) {
  const int row_bytes = spec.code_row_bytes();
  if (spec.estimator == Estimator::int8) {
    const bool wide = row_bytes > 128;
    return {.rows_per_warp = wide || row_bytes <= 64 ? 32 : 16,
            .warps = wide ? 8 : 16,
            .keys_per_step = 128,
            .stages = wide ? 4 : 6};
  }
  const int q_row_bytes = spec.prune_queries ? row_bytes / 2 : row_bytes;
  const int keys = q_row_bytes <= 64 ? 256 : 128;
  return {.rows_per_warp = keys == 256 ? 32 : 16,
          .warps = 16,
          .keys_per_step = keys,
          .stages = keys * row_bytes <= 16384 ? 6 : 4};
}

// 64 rows per warp share each key fragment among four products; wide rows of Q and int4's biases leave registers for 32
// only. Measured on an H100; what spills elsewhere takes the smaller step.
Tile select_tile(const KernelSpec &spec) {
  if (spec.family() == KernelFamily::wgmma) {
    return select_wgmma_tile(spec);
  }
  const int row_bytes = spec.estimator == Estimator::exact ? 2 * spec.head_dim : spec.code_row_bytes();
  if (row_bytes <= 64) {
    return {.rows_per_warp = 64, .warps = 4, .keys_per_step = 64, .stages = 3, .min_ctas = 2};
  }
  if (row_bytes <= 128) {
    return {.rows_per_warp = 64, .warps = 4, .keys_per_step = 128, .stages = 2, .min_ctas = 2};
  }
  if (row_bytes <= 256 && spec.estimator != Estimator::int4 && spec.arch.major <= 9) {
    return {.rows_per_warp = 64, .warps = 4, .keys_per_step = 64, .stages = 2, .min_ctas = 2};
  }
  return {.rows_per_warp = 32, .warps = 4, .keys_per_step = 64, .stages = 2, .min_ctas = row_bytes <= 256 ? 2 : 1};
}

// Two query heads share their keys: four would need CTAs of 256 threads, and those wait longer for each other. Measured
// on an H100.
Tile prepare_tile(const KernelSpec &spec) {
  const bool wide = spec.head_dim > 128;
  // Small shared memories have no room for more than two CTAs; from sm_100 on ptxas needs more registers, and so do
  // rows of 96 channels, which eight lanes do not share evenly.
  const bool many = !wide && spec.arch.max_shared_memory() >= 160 * 1024 && spec.arch.major < 10 && spec.head_dim != 96;
  const bool gathers = spec.basis == EstimateBasis::channels;
  // The warps of a CTA share a projection's weights to the end. With a quarter of the registers, gathering channels
  // spills where a head may be missing.
  const bool every_head = spec.basis == EstimateBasis::projection || (gathers && many);
  int heads = std::clamp((wide ? 64 : 128) / spec.block_q, 1, spec.gqa);
  while (every_head && spec.gqa % heads != 0) {
    --heads;
  }
  const int rows_per_warp = wide ? 16 : 32;
  const int warps = heads * spec.block_q / rows_per_warp;
  // Pruning what was gathered spills too, and so does finding a sequence's rows.
  const bool more = (spec.prune_queries && gathers) || spec.ragged;
  const int most = gathers && warps == 2 ? 6 : (more ? 3 : 4);
  return {.rows_per_warp = rows_per_warp,
          .warps = warps,
          .keys_per_step = 32,
          .stages = 2,
          .min_ctas = wide ? 1 : (many ? most : 2)};
}

} // namespace

Tile default_tile(const KernelSpec &spec) {
  switch (spec.stage) {
  case Stage::sequences: return {.rows_per_warp = 16, .warps = 16, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  case Stage::tails:
  case Stage::merge: return {.rows_per_warp = 16, .warps = 4, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  case Stage::count:
  case Stage::mean:
  case Stage::amax: return {.rows_per_warp = 16, .warps = 8, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  case Stage::channels:
  case Stage::quantize: return {.rows_per_warp = 16, .warps = 4, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  case Stage::values:
    return {.rows_per_warp = 16, .warps = spec.head_dim / 32, .keys_per_step = 32, .stages = 2, .min_ctas = 1};
  case Stage::prepare: return prepare_tile(spec);
  case Stage::select: return select_tile(spec);
  case Stage::attend: return attend_tile(spec);
  }
  return {};
}

} // namespace sale
