// SPDX-License-Identifier: Apache-2.0
#include "generator/shared_memory.hpp"

namespace sale {

namespace {

constexpr int mask_batch_bytes = 1024; // one list of attend's mask walk: 256 entries
constexpr int mask_nothing_bytes = 16; // its step of zeros
constexpr int wgmma_tickets = 8;
constexpr int wgmma_batch_granules = 512;

int round_up_16(int bytes) { return (bytes + 15) / 16 * 16; }

// K codes of a step (16-bit keys for exact), their scales in 16-byte units, and int4's biases.
int select_stage_bytes(const KernelSpec &spec) {
  const int keys = spec.tile.keys_per_step;
  switch (spec.estimator) {
  case Estimator::exact: return keys * spec.head_dim * 2;
  case Estimator::fp8: break; // select_wgmma_bytes
  case Estimator::int8: return keys * spec.code_row_bytes() + (keys / 32 * 4 + 15) / 16 * 16;
  case Estimator::int4: return keys * spec.code_row_bytes() + keys / 32 * 16 + keys * 4;
  }
  return 0;
}

// Tiles of K with a u32 of scales per 32 keys and two 8-byte barriers, then two slots of 16 bytes for items with as
// many barriers.
int select_wgmma_bytes(const KernelSpec &spec) {
  const int keys = spec.tile.keys_per_step;
  return spec.tile.stages * (keys * spec.code_row_bytes() + keys / 32 * 4 + 16) + 2 * (16 + 16);
}

// Q, the tiles of K and V (codes for fp8, with 16 bytes of scales per 32 keys), tickets, the list of a walk of mask
// bits, two barriers for each place.
int attend_wgmma_bytes(const KernelSpec &spec) {
  const Tile &tile = spec.tile;
  const int per_tile = tile.keys_per_step / spec.keys_per_copy();
  // Of K and V; V's codes have eight channels of ones beside them.
  const int key_bytes = spec.fp8_attend ? 2 * spec.head_dim + 8 : 2 * (spec.head_dim + spec.v_width());
  const int scales = spec.fp8_attend ? tile.stages * tile.keys_per_step / 32 * 16 : 0;
  const int query_bytes = spec.fp8_attend && spec.head_dim > 128 ? 3 * spec.head_dim : 2 * spec.head_dim;
  const int tiles = tile.rows() * query_bytes + tile.stages * tile.keys_per_step * key_bytes + scales;
  const int tickets = wgmma_tickets * (16 + round_up_16(per_tile * 4));
  const int list = spec.dense ? 0 : round_up_16((wgmma_batch_granules + 3 * (per_tile - 1)) * 4);
  const int exchange = spec.second_filter ? tile.warps * tile.stages * 4 : 0; // a word of each warp that computes
  return tiles + tickets + list + exchange + (1 + 2 * tile.stages + wgmma_tickets) * 16;
}

// A maximum of each half warp or warp; fp8 stages the keys whose channels it picks or mixes, and the weights of 32
// channels.
int quantize_bytes(const KernelSpec &spec) {
  if (spec.estimator != Estimator::fp8) {
    return 32;
  }
  const int staged = spec.basis == EstimateBasis::all ? 0 : 32 * spec.head_dim * 2;
  const int weights = spec.basis == EstimateBasis::projection ? 32 * spec.estimate_width() * 4 : 0;
  return staged + 16 + weights;
}

} // namespace

int shared_memory_bytes(const KernelSpec &spec) {
  const Tile &tile = spec.tile;
  const int row_bytes = spec.head_dim * 2;
  if (spec.family() == KernelFamily::wgmma) {
    return spec.stage == Stage::select ? select_wgmma_bytes(spec) : attend_wgmma_bytes(spec);
  }
  switch (spec.stage) {
  case Stage::channels: // partial sums, two rows of words, arrival flag
    return spec.threads() / (spec.head_dim / 8) * spec.head_dim * 4 + 2 * spec.head_dim * 4 + 16;
  case Stage::mean: return spec.threads() / (spec.head_dim / 8) * spec.head_dim * 4 + 16; // partial sums, arrival flag
  case Stage::quantize: return quantize_bytes(spec);
  case Stage::sequences: return (4096 + 1 + spec.threads() + 1) * 4; // first units, sums, keys
  case Stage::tails:
  case Stage::merge:
  case Stage::amax:
  case Stage::values: return 0;
  case Stage::count: return 8; // two sums
  case Stage::prepare: return (tile.rows() + tile.stages * tile.keys_per_step) * row_bytes + tile.rows() * 4;
  case Stage::select: return tile.stages * select_stage_bytes(spec);
  case Stage::attend:
    return (tile.rows() + tile.stages * tile.keys_per_step) * row_bytes +
           tile.stages * tile.keys_per_step * 2 * spec.v_width() +
           (spec.dense ? 0 : mask_nothing_bytes + tile.stages * mask_batch_bytes);
  }
  return 0;
}

} // namespace sale
