// SPDX-License-Identifier: Apache-2.0
// Task: one kernel's work in one call, to be measured with several tiles.
#pragma once

#include "generator/kernel_spec.hpp"

#include <string>

namespace sale::autotune {

struct Task {
  Problem problem;
  Policy policy;
  KernelSpec kernel; ///< prepare, select or attend, of a plain Plan; with the default tile.
  int tokens = 0;    ///< q_len = kv_len, batch 1: a power of two.
  /// attend alone: kept share of the visible blocks of the mask that it is measured with. 0 = what the policy keeps of
  /// realistic data of this length.
  float density = 0;

  /// One line: the kernel's class, the length, the density.
  std::string describe() const;
};

} // namespace sale::autotune
