// SPDX-License-Identifier: Apache-2.0
#include "sale/swappable_plan.hpp"

#include <atomic>
#include <mutex>
#include <utility>

namespace sale {

struct SwappablePlan::State {
  int device = 0;
  Options options;
  Problem problem;
  Policy policy;
  Serving serving;

  std::mutex swap;                                // One use() at a time; runs never take it.
  std::vector<std::unique_ptr<const Plan>> plans; // All that were in use.
  std::atomic<const Plan *> current{nullptr};

  void prepare() {
    auto plan = std::make_unique<const Plan>(Engine(device, options).prepare(problem, policy, serving));
    plans.push_back(std::move(plan));
    current.store(plans.back().get(), std::memory_order_release);
  }
};

SwappablePlan::SwappablePlan(int device, Options options, const Problem &problem, const Policy &policy,
                             const Serving &serving)
    : state_(std::make_shared<State>()) {
  state_->device = device;
  state_->options = std::move(options);
  state_->problem = problem;
  state_->policy = policy;
  state_->serving = serving;
  state_->prepare();
}

Plan SwappablePlan::current() const { return *state_->current.load(std::memory_order_acquire); }

void SwappablePlan::use(std::shared_ptr<const TuningRecord> record) {
  const std::lock_guard lock(state_->swap);
  std::swap(state_->options.tuning, record);
  try {
    state_->prepare();
  } catch (...) {
    std::swap(state_->options.tuning, record);
    throw;
  }
}

} // namespace sale
