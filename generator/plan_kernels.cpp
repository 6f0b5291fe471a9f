// SPDX-License-Identifier: Apache-2.0
// Which kernels a Plan is made of.
#include "generator/generate.hpp"

namespace sale {

std::vector<KernelSpec> plan_kernels(const Problem &problem, const Policy &policy, const Arch &arch) {
  validate(problem);
  validate(policy, problem);
  std::vector<Stage> stages;
  const bool fp8 = policy.estimator == Estimator::fp8;
  const bool projected = !policy.projection.empty();
  const bool fewer_channels = policy.estimate_dim != 0 && !projected;
  if (policy.estimator != Estimator::exact) {
    stages = {Stage::mean, Stage::quantize};
  }
  if (fp8 && (policy.prune_queries || (fewer_channels && policy.channels.empty()))) {
    stages.insert(stages.begin() + 1, Stage::channels);
  }
  stages.insert(stages.end(), {Stage::prepare, Stage::select, Stage::attend});

  std::vector<KernelSpec> specs;
  const auto add = [&](Stage stage, bool dense) {
    KernelSpec spec;
    spec.stage = stage;
    spec.arch = arch;
    spec.dtype = problem.dtype;
    spec.head_dim = problem.head_dim;
    spec.gqa = problem.num_q_heads / problem.num_kv_heads;
    spec.estimator = policy.estimator;
    spec.block_q = policy.block_q;
    spec.block_k = policy.block_k;
    spec.dense = dense;
    if (fp8) {
      spec.estimate_dim = policy.estimate_dim;
      spec.basis = projected        ? EstimateBasis::projection
                   : fewer_channels ? EstimateBasis::channels
                                    : EstimateBasis::all;
      spec.prune_queries = policy.prune_queries;
    }
    spec.fp8_attend = policy.fp8_attend;
    spec.second_filter = policy.second_filter && !dense;
    spec.tile = default_tile(spec);
    specs.push_back(spec);
  };
  for (const Stage stage : stages) {
    add(stage, false);
  }
  add(Stage::attend, true);
  return specs;
}

} // namespace sale
