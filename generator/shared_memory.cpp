// SPDX-License-Identifier: Apache-2.0
#include "generator/shared_memory.hpp"

namespace sale {

int shared_memory_bytes(const KernelSpec &spec) {
  switch (spec.stage) {
  case Stage::mean:
  case Stage::quantize:
  case Stage::prepare:
  case Stage::select: return 0;
  case Stage::attend: {
    const int tiles = (spec.tile.rows() + 2 * spec.tile.stages * spec.tile.keys_per_step) * spec.head_dim * 2;
    return tiles + (spec.dense ? 0 : spec.tile.stages * 1024);
  }
  }
  return 0;
}

} // namespace sale
