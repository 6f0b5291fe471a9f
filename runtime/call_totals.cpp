// SPDX-License-Identifier: Apache-2.0
#include "runtime/call_totals.hpp"

#include <utility>

namespace sale {

DeviceTotals::DeviceTotals(std::shared_ptr<const Device> device) : device_(std::move(device)) {
  const CurrentContext scope(*device_);
  void *memory = nullptr;
  device_->driver().check(device_->driver().api.host_allocate(&memory, sizeof(CountTotals), cu::host_memory_mapped),
                          "cuMemHostAlloc", ErrorKind::load);
  totals_ = new (memory) CountTotals{};
}

DeviceTotals::~DeviceTotals() {
  release_in_context(*device_, [this](const cu::Api &api) { api.host_free(totals_); });
}

CountTotals DeviceTotals::read() const {
  const auto now = [](unsigned long long &word) {
    return std::atomic_ref<unsigned long long>(word).load(std::memory_order_relaxed);
  };
  return {now(totals_->calls), now(totals_->kept_blocks), now(totals_->visible_blocks), now(totals_->nanoseconds)};
}

PlanCounters counters_of(const EnqueuedCalls &calls, const DeviceTotals *totals) {
  PlanCounters counters;
  counters.runs = calls.runs;
  counters.given_masks = calls.given_masks;
  counters.fallbacks = calls.fallbacks;
  counters.dense_runs = calls.dense_runs;
  counters.selects = calls.selects;
  counters.merges = calls.merges;
  if (totals != nullptr) {
    const CountTotals done = totals->read();
    counters.finished = done.calls;
    counters.kept_blocks = done.kept_blocks;
    counters.visible_blocks = done.visible_blocks;
    counters.milliseconds = 1e-6 * static_cast<double>(done.nanoseconds);
  }
  return counters;
}

} // namespace sale
