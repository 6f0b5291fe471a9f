// SPDX-License-Identifier: Apache-2.0
#include "cli/backend.hpp"

#include "reference/element.hpp"
#include "reference/metrics.hpp"
#include "reference/run.hpp"
#include "reference/select.hpp"
#include "reference/thresholds.hpp"

#include <chrono>

namespace sale::cli {

namespace {

reference::Mask exact_mask(const reference::Tensors &tensors, const Policy &calibrated, float scale) {
  const Policy policy = reference::exact_policy(calibrated);
  return reference::select(tensors, policy, scale, {}, {}, reference::thresholds(tensors, policy, scale).value);
}

} // namespace

Outcome run_on_cpu(const io::Qkv &qkv, const Policy &policy, bool compare) {
  const reference::Tensors tensors = io::to_tensors(qkv);
  reference::Result result = reference::run_sale(qkv.problem, policy, tensors);
  Outcome outcome;
  outcome.device = "cpu";
  outcome.out = reference::to_elements(result.out, qkv.problem.dtype);
  outcome.lse = std::move(result.lse);
  outcome.mask = std::move(result.mask);
  outcome.times = result.times;
  if (compare) {
    const auto start = std::chrono::steady_clock::now();
    reference::Attention dense = reference::run_dense(qkv.problem, tensors);
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    const float scale = effective_softmax_scale(qkv.problem);
    outcome.dense =
        DenseOutcome{"oracle", std::move(dense.out), std::move(dense.lse), elapsed.count(),
                     reference::hit_mass(tensors, policy, scale, outcome.mask, exact_mask(tensors, policy, scale))};
  }
  return outcome;
}

} // namespace sale::cli
