// SPDX-License-Identifier: Apache-2.0
#include "autotune/proposal/candidates.hpp"

#include "bench/variant.hpp"
#include "generator/generate.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <utility>

namespace sale::autotune {

namespace {

using Change = PolicyCandidate::Change;

constexpr std::array estimates = {"int8", "fp8", "fp8/64", "fp8/2:4"};
constexpr std::array<std::pair<int, int>, 4> blocks = {{{64, 32}, {64, 64}, {128, 64}, {128, 128}}};

void copy_estimate(const Policy &from, Policy &to) {
  to.estimator = from.estimator;
  to.estimate_dim = from.estimate_dim;
  to.prune_queries = from.prune_queries;
  to.channels = from.channels;
  to.projection = from.projection;
  to.shift_per_head = from.shift_per_head;
}

void apply(const PolicyCandidate &change, Policy &policy) {
  switch (change.change) {
  case Change::none:
  case Change::several: break;
  case Change::estimate: copy_estimate(change.policy, policy); break;
  case Change::blocks:
    policy.block_q = change.policy.block_q;
    policy.block_k = change.policy.block_k;
    break;
  case Change::second_filter: policy.second_filter = change.policy.second_filter; break;
  case Change::fp8_attend: policy.fp8_attend = change.policy.fp8_attend; break;
  }
}

} // namespace

bool is_possible(const Problem &problem, const Policy &policy, const Arch &arch) {
  try {
    validate(policy, problem);
    for (const KernelSpec &spec : plan_kernels(problem, policy, arch)) {
      validate(spec);
    }
    return true;
  } catch (const Error &) {
    return false;
  }
}

std::vector<PolicyCandidate> policy_candidates(const Problem &problem, const Policy &base, const Arch &arch) {
  std::vector<PolicyCandidate> candidates = {{"as given", Change::none, base}};
  candidates.front().policy.dense_below = 0;
  const Policy given = candidates.front().policy;
  const auto add = [&](std::string name, Change change, const auto &edit) {
    PolicyCandidate candidate{std::move(name), change, given};
    edit(candidate.policy);
    if (is_possible(problem, candidate.policy, arch)) {
      candidates.push_back(std::move(candidate));
    }
  };
  for (const char *word : estimates) {
    const Policy other = bench::parse_estimate(word, given);
    if (bench::estimate_name(other) != bench::estimate_name(given) && other.estimate_dim < problem.head_dim) {
      add(word, Change::estimate, [&](Policy &policy) { policy = other; });
    }
  }
  for (const auto &[block_q, block_k] : blocks) {
    if (block_q != base.block_q || block_k != base.block_k) {
      add(fmt::format("blocks {}x{}", block_q, block_k), Change::blocks, [&, q = block_q, k = block_k](Policy &policy) {
        policy.block_q = q;
        policy.block_k = k;
      });
    }
  }
  if (!base.second_filter) {
    add("second filter", Change::second_filter, [](Policy &policy) { policy.second_filter = true; });
  }
  if (!base.fp8_attend) {
    add("fp8 attend", Change::fp8_attend, [](Policy &policy) { policy.fp8_attend = true; });
  }
  return candidates;
}

PolicyCandidate combine(const PolicyCandidate &base, const std::vector<PolicyCandidate> &changes) {
  PolicyCandidate all{"", Change::several, base.policy};
  for (const PolicyCandidate &change : changes) {
    all.name += (all.name.empty() ? "" : ", ") + change.name;
    apply(change, all.policy);
  }
  return all;
}

Policy dense_policy(Policy base) {
  base.dense_below = std::numeric_limits<int>::max();
  return base;
}

} // namespace sale::autotune
