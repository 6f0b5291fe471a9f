// SPDX-License-Identifier: Apache-2.0
#include "generator/shared_memory.hpp"

namespace sale {

namespace {

constexpr int mask_batch_bytes = 1024; // one list of attend's mask walk: 256 entries
constexpr int mask_nothing_bytes = 16; // its step of zeros

// K codes of a step (16-bit keys for exact), their scales in 16-byte units, and int4's biases.
int select_stage_bytes(const KernelSpec &spec) {
  const int keys = spec.tile.keys_per_step;
  switch (spec.estimator) {
  case Estimator::exact: return keys * spec.head_dim * 2;
  case Estimator::int8: return keys * spec.code_row_bytes() + (keys / 32 * 4 + 15) / 16 * 16;
  case Estimator::int4: return keys * spec.code_row_bytes() + keys / 32 * 16 + keys * 4;
  }
  return 0;
}

} // namespace

int shared_memory_bytes(const KernelSpec &spec) {
  const Tile &tile = spec.tile;
  const int row_bytes = spec.head_dim * 2;
  switch (spec.stage) {
  case Stage::mean: return tile.threads() / (spec.head_dim / 8) * spec.head_dim * 4 + 16; // partial sums, arrival flag
  case Stage::quantize: return 32;                                                        // amax of each half warp
  case Stage::prepare: return (spec.block_q + tile.stages * tile.keys_per_step) * row_bytes + spec.block_q * 4;
  case Stage::select: return tile.stages * select_stage_bytes(spec);
  case Stage::attend:
    return (tile.rows() + 2 * tile.stages * tile.keys_per_step) * row_bytes +
           (spec.dense ? 0 : mask_nothing_bytes + tile.stages * mask_batch_bytes);
  }
  return 0;
}

} // namespace sale
