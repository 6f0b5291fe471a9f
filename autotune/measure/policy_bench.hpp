// SPDX-License-Identifier: Apache-2.0
// Whole calls of one problem with several policies, ready to run on a device.
#pragma once

#include "autotune/measure/bench_memory.hpp"
#include "autotune/measure/inputs.hpp"
#include "autotune/measure/measurer.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace sale::autotune {

class PolicyBench {
public:
  /// The device's context is current wherever one is used; `options` have its driver, and the tuning record whose tiles
  /// serve.
  PolicyBench(std::shared_ptr<const Device> device, Options options, const PolicyCalls &calls, Inputs &inputs,
              BenchMemory &memory);

  /// Compiles or reads the policy's kernels, loads them and makes room; before anything else of it.
  void load(std::size_t policy);

  /// Runs it; kept share of the visible blocks.
  double density(std::size_t policy);

  /// Milliseconds of a call. `flush` is enqueued before it.
  template <class Flush>
  double time(std::size_t policy, const Flush &flush) {
    flush();
    return plans_[policy]->profile(args(), nullptr).total;
  }

private:
  RunArgs args() const;
  bool is_dense(std::size_t policy) const { return calls_.policies[policy].dense_below > calls_.tokens; }

  std::shared_ptr<const Device> device_;
  Engine engine_;
  const PolicyCalls &calls_;
  const Input &input_;
  BenchMemory &memory_;
  std::vector<std::optional<Plan>> plans_;
};

} // namespace sale::autotune
