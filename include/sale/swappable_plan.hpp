// SPDX-License-Identifier: Apache-2.0
// A Plan that can be replaced between runs: when tuning has found faster tiles, say.
#pragma once

#include "sale/sale.hpp"

#include <memory>

namespace sale {

/// One problem and policy with one tuning record after another. Safe to use from several threads.
class SALE_API SwappablePlan {
public:
  /// Prepares the first Plan, on an Engine of its own with these Options.
  SwappablePlan(int device, Options options, const Problem &problem, const Policy &policy, const Serving &serving = {});

  /// For one run, or for several that must take the same kernels. Neither waits nor allocates.
  Plan current() const;

  /// Prepares a Plan with these tiles (null: the default ones) beside the one in use; from then on current() gives it.
  /// Compiles and throws as Engine::prepare, during capture too; then the Plan in use stays. Those that were in use
  /// stay loaded as long as this object lives, for graphs that were captured with them.
  void use(std::shared_ptr<const TuningRecord> record);

private:
  struct State;
  std::shared_ptr<State> state_;
};

} // namespace sale
