// SPDX-License-Identifier: Apache-2.0
#include "golden_kernels.hpp"

#include "check/covering_set.hpp"
#include "core/supported.hpp"
#include "generator/generate.hpp"

#include <fmt/format.h>

#include <array>
#include <map>

namespace sale {

namespace {

struct Combination {
  DType dtype;
  int gqa;
  int block_q;
  int block_k;
};

// With each estimator, in the order of supported_estimators.
constexpr Combination combinations[] = {
    {DType::f16, 7, 64, 128}, {DType::bf16, 4, 64, 32}, {DType::f16, 1, 128, 64}, {DType::bf16, 4, 64, 32}};
static_assert(std::size(combinations) == supported_estimators.size());

using Kernels = std::map<std::string, KernelSpec>;

void add_plan(const Problem &problem, const Policy &policy, const Arch &arch, Kernels &kernels) {
  for (const KernelSpec &spec : plan_kernels(problem, policy, arch)) {
    kernels.emplace(kernel_name(spec), spec);
  }
}

bool launches(const check::CheckCase &check_case, const KernelSpec &spec) {
  switch (check_case.mode) {
  case check::Mode::sparse: return !spec.dense;
  case check::Mode::given_mask: return spec.stage == Stage::attend && !spec.dense;
  case check::Mode::dense: return spec.dense;
  }
  return false;
}

void add_covering_set(const Arch &arch, Kernels &kernels) {
  for (const check::CheckCase &check_case : check::covering_set()) {
    if (check_case.arch == arch.name()) {
      for (const KernelSpec &spec : plan_kernels(check_case.problem, check_case.policy, arch)) {
        if (launches(check_case, spec)) {
          kernels.emplace(kernel_name(spec), spec);
        }
      }
    }
  }
}

} // namespace

const std::vector<Arch> &golden_archs() {
  static const std::vector<Arch> archs = {{8, 0}, {8, 6}, {8, 9}, {9, 0}, {9, 0, true}, {10, 0}, {12, 0}};
  return archs;
}

std::string kernel_name(const KernelSpec &spec) {
  std::string name = to_string(spec.stage);
  // Codes are the same whatever type they were made of.
  if (spec.stage != Stage::select || spec.estimator == Estimator::exact) {
    name += fmt::format(" {}", to_string(spec.dtype));
  }
  name += fmt::format(" d{}", spec.head_dim);
  if (spec.stage == Stage::attend && spec.v_width() != spec.head_dim) {
    name += fmt::format(" v{}", spec.v_width());
  }
  if (spec.stage == Stage::amax || spec.stage == Stage::values) {
    return name;
  }
  if (spec.stage != Stage::mean && spec.stage != Stage::attend) {
    name += fmt::format(" {}", to_string(spec.estimator));
    if (spec.estimator == Estimator::fp8) {
      constexpr std::array bases = {"", " channels", " projection"};
      name += fmt::format(" e{}{}{}", spec.estimate_width(), bases[static_cast<std::size_t>(spec.basis)],
                          spec.prune_queries ? " 2:4" : "");
    }
  }
  if (spec.stage == Stage::attend) {
    name += fmt::format("{}{}", spec.fp8_attend ? " fp8" : "", spec.second_filter ? " filtered" : "");
  }
  name += spec.variants();
  if (spec.stage != Stage::mean && (spec.stage != Stage::quantize || spec.estimator == Estimator::int4)) {
    name += fmt::format(" gqa{}", spec.gqa);
  }
  if (spec.dense) {
    name += " dense";
  } else if (spec.stage != Stage::mean && spec.stage != Stage::quantize) {
    name += fmt::format(" q{} k{}", spec.block_q, spec.block_k);
  }
  return name;
}

std::vector<KernelSpec> golden_kernels(const Arch &arch) {
  Kernels kernels;
  add_covering_set(arch, kernels);
  for (const int head_dim : supported_head_dims) {
    for (std::size_t i = 0; i < supported_estimators.size(); ++i) {
      if (supported_estimators[i] == Estimator::fp8 && !arch.has_wgmma()) {
        continue;
      }
      const Combination &combination = combinations[i];
      Problem problem;
      problem.dtype = combination.dtype;
      problem.head_dim = head_dim;
      problem.num_q_heads = combination.gqa;
      problem.num_kv_heads = 1;
      Policy policy;
      policy.estimator = supported_estimators[i];
      policy.block_q = combination.block_q;
      policy.block_k = combination.block_k;
      add_plan(problem, policy, arch, kernels);
    }
  }
  std::vector<KernelSpec> specs;
  for (const auto &[name, spec] : kernels) {
    specs.push_back(spec);
  }
  return specs;
}

} // namespace sale
