// SPDX-License-Identifier: Apache-2.0
// A policy for a model on this GPU, found by measuring: what is fast comes from the GPU, what is good from the oracle.
// It is proposed, and nothing uses it until somebody says so.
#pragma once

#include "autotune/proposal/choose.hpp"

#include <functional>
#include <string>
#include <vector>

namespace sale::autotune {

struct ProposalRequest {
  Problem problem;
  Policy given;
  InputSettings input;
  std::vector<int> lengths; ///< q_len = kv_len.
  int rounds = 11;          ///< Of each length.
};

struct Proposal {
  PolicyStudy first; ///< Every candidate.
  std::vector<PolicyVerdict> first_verdicts;
  PolicyStudy second; ///< The best changes and all of them together, measured anew; may be empty.
  std::vector<PolicyVerdict> second_verdicts;
  std::vector<std::string> left_out; ///< Lengths that could not be measured, and why.
  int judged_tokens = 0;
  PolicyCandidate chosen; ///< With its dense_below.
  double ratio = 1;       ///< Its time / the given policy's.

  bool is_given() const { return chosen.change == PolicyCandidate::Change::none; }
};

/// A candidate is proposed that is acceptable in both studies; the given policy where there is none. Throws what the
/// measurer throws where nothing can be measured, and Error(cancelled) when `cancelled` says so between two steps.
Proposal propose_policy(const ProposalRequest &request, Measurer &measurer,
                        const std::function<void(const std::string &step)> &told = {},
                        const std::function<bool()> &cancelled = {});

} // namespace sale::autotune
