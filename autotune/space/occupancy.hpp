// SPDX-License-Identifier: Apache-2.0
// How many CTAs an SM holds, as cuda_occupancy.h of the CUDA toolkit computes it.
#pragma once

#include "generator/arch.hpp"

namespace sale::autotune {

/// Of an SM.
struct SmLimits {
  int threads = 0;
  int ctas = 0;
  int shared_memory = 0;
};

/// CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability".
SmLimits sm_limits(const Arch &arch);

/// 0 registers: nobody knows them, they limit nothing. 0 where not even one CTA fits.
int ctas_per_sm(const Arch &arch, int threads, int registers, int shared_memory);

} // namespace sale::autotune
