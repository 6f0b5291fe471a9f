// SPDX-License-Identifier: Apache-2.0
// Runs a Plan on host tensors and brings back everything that the oracle can be compared with.
#pragma once

#include "reference/mask.hpp"
#include "reference/tensors.hpp"
#include "sale/sale.hpp"

#include <string>
#include <vector>

namespace sale::test {

struct DeviceRun {
  Problem problem;
  Policy policy;
  std::string arch;     ///< empty = the device's own
  bool dense = false;   ///< run_dense
  bool strided = false; ///< [batch, token, head, head_dim] with gaps between rows, as engines keep it
  const reference::Mask *mask_in = nullptr;
  std::vector<float> tau;   ///< RunArgs::tau; empty = null
  std::vector<float> shift; ///< RunArgs::shift; empty = null
  std::vector<float> kbar;  ///< RunArgs::kbar; empty = null
};

struct DeviceResult {
  std::vector<float> out; ///< [batch, num_q_heads, q_len, head_dim]
  std::vector<float> lse; ///< [batch, num_q_heads, q_len]
  reference::Mask mask;
  std::vector<float> threshold; ///< T, [batch, num_q_heads, q_len]
  std::vector<float> kbar;
  std::vector<float> qbar;
  bool guards_intact = true;
};

/// Poisons output, workspace and the gaps between rows first. Throws sale::Error.
DeviceResult run_on_device(const DeviceRun &run, const reference::Tensors &tensors);

/// Engine options of all GPU tests: kernels are cached in the build folder, or wherever SALE_CACHE_DIR says.
Options test_options(const std::string &arch = {});

} // namespace sale::test
