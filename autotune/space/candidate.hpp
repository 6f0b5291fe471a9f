// SPDX-License-Identifier: Apache-2.0
// Candidate: a tile that may win, and what is known of it without a GPU.
#pragma once

#include "generator/kernel_spec.hpp"

#include <string>

namespace sale::autotune {

/// What a kernel needs of an SM.
struct ResourceUse {
  int registers = 0;     ///< Per thread; 0 where nobody has compiled it.
  int spill_bytes = 0;   ///< Stores + loads per thread.
  int shared_memory = 0; ///< Bytes per CTA.
  int ctas_per_sm = 0;
};

struct Candidate {
  Tile tile;
  ResourceUse use;
  double model_ms = 0; ///< What the cost model says; 0 = it was not asked.
};

} // namespace sale::autotune
