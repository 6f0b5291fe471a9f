// SPDX-License-Identifier: Apache-2.0
// The kernels of a Plan and the order in which one call enqueues them. Nothing here allocates, locks or synchronises.
#pragma once

#include "runtime/arguments.hpp"
#include "runtime/call_totals.hpp"
#include "runtime/device.hpp"
#include "runtime/stage_kernels.hpp"
#include "runtime/timeline.hpp"
#include "sale/sale.hpp"

#include <memory>

namespace sale {

struct PlanKernels {
  Problem problem;
  Policy policy;
  Serving serving;
  std::shared_ptr<const Device> device;
  Kernel sequences; ///< Ragged.
  Kernel mean;
  Kernel channels;
  Kernel quantize;
  Kernel quantize_all; ///< fp8_attend, where quantize does not make the codes that it reads.
  Kernel amax;         ///< fp8_attend.
  Kernel values;       ///< fp8_attend.
  StageKernels prepare;
  StageKernels select;
  StageKernels attend;
  StageKernels attend_dense;
  Kernel tails; ///< Ragged, wgmma attend in 16 bits.
  Kernel merge; ///< Parts.
  Kernel count; ///< Counted.
  DeviceArray tau;
  DeviceArray shift;         ///< Empty when the policy shifts nothing.
  DeviceArray channels_used; ///< s32; empty when the policy names none.
  DeviceArray projection;    ///< Empty when the policy has none.
  DeviceArray kbar;          ///< The same.
  DeviceArray zeros;         ///< [num_q_heads]: tau of a dense call; empty unless policy.dense_below.
  int code_row_bytes = 0;
  std::unique_ptr<const DeviceTotals> totals; ///< Counted.
  mutable EnqueuedCalls calls;
};

/// One launch of CTAs of the kernel's own size; `arguments` is the structure that it takes.
void launch_kernel(const Device &device, const Kernel &kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   void *arguments, cu::Stream stream);

/// Enqueues validated MergeArgs that have work; the device's context is current.
void enqueue_merge(const PlanKernels &plan, const MergeArgs &args, cu::Stream stream);

/// Whether a sparse call runs dense because it is short.
bool falls_back(const PlanKernels &plan, const RunArgs &args);

/// Enqueues one validated call that has work; the device's context is current. `timeline` may be null.
void enqueue(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, RunMode mode, Timeline *timeline);

} // namespace sale
