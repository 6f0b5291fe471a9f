// SPDX-License-Identifier: Apache-2.0
// Runs a Plan on host tensors and brings back everything that the oracle can be compared with.
#pragma once

#include "reference/channels.hpp"
#include "reference/mask.hpp"
#include "reference/tensors.hpp"
#include "runtime/device.hpp"
#include "sale/sale.hpp"

#include <memory>
#include <vector>

namespace sale::check {

struct DeviceRun {
  Problem problem;
  Policy policy;
  bool dense = false;   ///< run_dense
  bool strided = false; ///< [batch, token, head, head_dim] with gaps between rows, as engines keep it
  const reference::Mask *mask_in = nullptr;
  std::vector<float> tau;   ///< RunArgs::tau; empty = null
  std::vector<float> shift; ///< RunArgs::shift; empty = null
  std::vector<float> kbar;  ///< RunArgs::kbar; empty = null
};

/// Rows of codes, one byte each whatever the device's layout, and their scales.
struct DeviceCodes {
  std::vector<std::int8_t> codes; ///< [.., rows, head_dim]; fp8: estimate_dim entries, 0 where a query is pruned
  std::vector<float> scales;
};

struct DeviceResult {
  std::vector<float> out; ///< [batch, num_q_heads, q_len, head_dim]
  std::vector<float> lse; ///< [batch, num_q_heads, q_len]
  bool guards_intact = true;
  std::vector<KernelInfo> kernels;

  // Of selection; empty where there was none.
  reference::Mask mask;
  std::vector<float> threshold; ///< T, [batch, num_q_heads, q_len]
  std::vector<float> kbar;      ///< As given by call or policy, else what the device computed; empty for exact.
  std::vector<float> qbar;      ///< int4
  reference::Channels channels; ///< fp8
  DeviceCodes keys;             ///< Scales [batch, num_kv_heads, ceil(kv_len / 32), groups]; empty for exact
  DeviceCodes queries;          ///< Scales [batch, num_q_heads, q_len]; empty for exact
};

/// Poisons output, workspace and the gaps between rows first. The driver is the device's, whatever `options` says.
/// Throws sale::Error.
DeviceResult run_on_device(const DeviceRun &run, const reference::Tensors &tensors,
                           const std::shared_ptr<const Device> &device, const Options &options);

} // namespace sale::check
