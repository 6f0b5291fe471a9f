// SPDX-License-Identifier: Apache-2.0
// The kernels whose cost is on record in goldens/.
#pragma once

#include "generator/kernel_spec.hpp"

#include <string>
#include <vector>

namespace sale {

/// The architectures that have a file of goldens: each generation, and each size of shared memory.
const std::vector<Arch> &golden_archs();

/// Kernels with default tiles, each source once, sorted by name: what the covering set runs on this architecture, and
/// every head dimension with every estimator, with data types, GQA ratios and block sizes in turn.
std::vector<KernelSpec> golden_kernels(const Arch &arch);

/// What tells a kernel from the others of its architecture, but for its tile: "select d128 int8 gqa4 q64 k32".
std::string kernel_name(const KernelSpec &spec);

} // namespace sale
