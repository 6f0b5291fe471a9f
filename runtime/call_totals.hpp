// SPDX-License-Identifier: Apache-2.0
// What the calls of a Plan have done: counted here as they are enqueued, and by the device as they end.
#pragma once

#include "args/count_args.cuh"
#include "runtime/device.hpp"
#include "sale/sale.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

namespace sale {

/// Page-locked host memory that kernels add to; reading it asks nothing of the device. Freed in its context.
class DeviceTotals {
public:
  explicit DeviceTotals(std::shared_ptr<const Device> device);
  ~DeviceTotals();
  DeviceTotals(const DeviceTotals &) = delete;
  DeviceTotals &operator=(const DeviceTotals &) = delete;

  /// The same address for the device (unified addressing).
  CountTotals *data() const { return totals_; }
  CountTotals read() const;

private:
  std::shared_ptr<const Device> device_;
  CountTotals *totals_ = nullptr;
};

/// Counted by any thread.
struct EnqueuedCalls {
  std::atomic<std::uint64_t> runs{0}, given_masks{0}, fallbacks{0}, dense_runs{0}, selects{0}, merges{0};
};

/// `totals` may be null.
PlanCounters counters_of(const EnqueuedCalls &calls, const DeviceTotals *totals);

} // namespace sale
