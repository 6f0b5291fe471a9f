// SPDX-License-Identifier: Apache-2.0
// What compiled kernels take of a GPU, as numbers that a test can compare.
#pragma once

#include "generator/kernel_spec.hpp"
#include "sale/sale.hpp"

#include <string>
#include <vector>

namespace sale {

struct KernelCost {
  std::string name; ///< kernel_name
  std::string tile; ///< "64x4/128x2/2": rows per warp x warps / keys per step x stages / CTAs per SM
  int registers = 0;
  int spill_bytes = 0;
  int local_bytes = 0;
  int static_shared_bytes = 0;
  int dynamic_shared_bytes = 0;
  int parameter_bytes = 0;
  int tensor_core_instructions = 0;
  std::string source; ///< source_digest

  friend bool operator==(const KernelCost &, const KernelCost &) = default;
};

/// Of what decides the binary but for NVRTC's version: the source without its comments, and the options. 16 digits.
std::string source_digest(const KernelSpec &spec);

/// Compiles what is not in the options' cache, in parallel. In the order of `specs`.
std::vector<KernelCost> measure_kernels(const std::vector<KernelSpec> &specs, const Options &options);

} // namespace sale
