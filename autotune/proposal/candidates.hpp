// SPDX-License-Identifier: Apache-2.0
// The policies that a proposal chooses from: the one that is given, and those that differ from it in one respect.
#pragma once

#include "generator/kernel_spec.hpp"
#include "sale/types.hpp"

#include <string>
#include <vector>

namespace sale::autotune {

struct PolicyCandidate {
  /// In what it differs.
  enum class Change { none, estimate, blocks, second_filter, fp8_attend, several };

  std::string name;
  Change change = Change::none;
  Policy policy;
};

/// Whether there are kernels for it on this architecture.
bool is_possible(const Problem &problem, const Policy &policy, const Arch &arch);

/// `base` first; of the others those that are possible. Calls of any length are sparse (dense_below 0).
std::vector<PolicyCandidate> policy_candidates(const Problem &problem, const Policy &base, const Arch &arch);

/// `base` with the changes of all of these, of which no two change the same.
PolicyCandidate combine(const PolicyCandidate &base, const std::vector<PolicyCandidate> &changes);

/// The dense call as a policy.
Policy dense_policy(Policy base);

} // namespace sale::autotune
