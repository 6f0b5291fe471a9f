// SPDX-License-Identifier: Apache-2.0
// GpuParameters: the figures of a GPU that the cost model is made of.
#pragma once

#include "generator/arch.hpp"

namespace sale::autotune {

struct GpuParameters {
  int multiprocessors = 0;
  double clock_ghz = 0;           ///< Under load.
  double mma_flops_per_clock = 0; ///< Of one SM, 16-bit operands, fp32 sums.
  double l2_bytes_per_clock = 0;  ///< L2 to shared memory, of one SM while all of them read.
  bool measured = false;          ///< By the micro-benchmarks; else assumed.
};

/// Of an architecture, where nothing was measured. 0 multiprocessors = those of its usual GPU.
GpuParameters assumed_parameters(const Arch &arch, int multiprocessors = 0);

} // namespace sale::autotune
