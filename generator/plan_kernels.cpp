// SPDX-License-Identifier: Apache-2.0
// Which kernels a Plan is made of.
#include "generator/generate.hpp"

namespace sale {

bool attend_shares_codes(const Policy &policy) {
  return policy.estimator == Estimator::fp8 && policy.estimate_dim == 0 && policy.projection.empty();
}

std::vector<KernelSpec> plan_kernels(const Problem &problem, const Policy &policy, const Arch &arch,
                                     const Serving &serving) {
  validate(problem);
  validate(policy, problem);
  validate(serving, problem, policy);
  const bool fp8 = policy.estimator == Estimator::fp8;
  const bool projected = !policy.projection.empty();
  const bool fewer_channels = policy.estimate_dim != 0 && !projected;

  std::vector<KernelSpec> specs;
  const auto spec_of = [&](Stage stage) {
    KernelSpec spec;
    spec.stage = stage;
    spec.arch = arch;
    spec.dtype = problem.dtype;
    spec.head_dim = problem.head_dim;
    spec.gqa = problem.num_q_heads / problem.num_kv_heads;
    spec.estimator = policy.estimator;
    spec.block_q = policy.block_q;
    spec.block_k = policy.block_k;
    spec.causal = problem.causal;
    spec.sliding = problem.sliding_window != 0;
    spec.softcap = problem.softcap != 0.0F;
    spec.sink_logits = problem.sink_logits;
    spec.ragged = serving.is_ragged();
    if (serving.page_size != 0) {
      spec.page_rows = serving.page_size % 32 == 0 ? 32 : 16;
    }
    spec.coded_pages = serving.code_cache;
    spec.parts = serving.parts;
    if (fp8) {
      spec.estimate_dim = policy.estimate_dim;
      spec.basis = projected        ? EstimateBasis::projection
                   : fewer_channels ? EstimateBasis::channels
                                    : EstimateBasis::all;
      spec.prune_queries = policy.prune_queries;
    }
    return spec;
  };
  const auto add = [&](KernelSpec spec) {
    spec.tile = default_tile(spec);
    specs.push_back(spec);
  };
  // What fp8_attend reads and no estimate has made.
  const auto add_codes_of_attend = [&] {
    KernelSpec spec = spec_of(Stage::mean);
    spec.estimator = Estimator::fp8;
    spec.estimate_dim = 0;
    spec.basis = EstimateBasis::all;
    spec.prune_queries = false;
    if (policy.estimator == Estimator::exact) {
      add(spec);
    }
    if (!attend_shares_codes(policy)) {
      spec.stage = Stage::quantize;
      spec.fp8_attend = true;
      add(spec);
    }
    add(spec_of(Stage::amax));
    add(spec_of(Stage::values));
  };
  // Those that see nothing of Q and K: their rows are V's.
  const auto add_of_values = [&](Stage stage) {
    KernelSpec spec = spec_of(stage);
    spec.head_dim = effective_v_head_dim(problem);
    add(spec);
  };
  const auto add_attend = [&](bool dense) {
    KernelSpec spec = spec_of(Stage::attend);
    spec.dense = dense;
    spec.v_head_dim = problem.v_head_dim;
    spec.fp8_attend = policy.fp8_attend;
    spec.second_filter = policy.second_filter && !dense;
    add(spec);
  };
  if (serving.is_ragged()) {
    add(spec_of(Stage::sequences));
  }
  if (policy.estimator != Estimator::exact) {
    add(spec_of(Stage::mean));
    if (fp8 && (policy.prune_queries || (fewer_channels && policy.channels.empty()))) {
      add(spec_of(Stage::channels));
    }
    add(spec_of(Stage::quantize));
  }
  if (policy.fp8_attend) {
    add_codes_of_attend();
  }
  add(spec_of(Stage::prepare));
  add(spec_of(Stage::select));
  if (serving.is_ragged() && spec_of(Stage::attend).family() == KernelFamily::wgmma && !policy.fp8_attend) {
    add_of_values(Stage::tails);
  }
  add_attend(false);
  add_attend(true);
  if (serving.parts) {
    add_of_values(Stage::merge);
  }
  if (serving.counted) {
    add(spec_of(Stage::count));
  }
  return specs;
}

} // namespace sale
