// SPDX-License-Identifier: Apache-2.0
// Which policy a proposal names: the fastest whose results are as good as those of the policy that was given.
#pragma once

#include "autotune/measure/measurer.hpp"
#include "autotune/proposal/candidates.hpp"
#include "autotune/proposal/judge.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace sale::autotune {

/// What was found of one candidate.
struct PolicyFinding {
  PolicyCandidate candidate;
  PolicyQuality quality;
  std::vector<Measurement> times; ///< Of each length.
  std::vector<double> density;    ///< The same.
  std::string refused;            ///< Why it cannot be judged, if so.
};

/// Calls of several lengths, in turns.
struct PolicyStudy {
  std::vector<int> lengths;            ///< Ascending.
  std::vector<PolicyFinding> findings; ///< The given policy first.
  std::vector<Measurement> dense;      ///< Of each length.
};

/// Quality may be that much less than the given policy's, and is then still as good.
struct QualityTolerance {
  double recall = 0.0005;
  double rel_l1_ratio = 1.1;
  double rel_l1 = 0.0005; ///< Beside the ratio: where the given policy loses nothing.
};

struct PolicyVerdict {
  double ratio = 1;    ///< Time / the given policy's, geometric mean over the lengths.
  double band = 0;     ///< Noise band of the ratio, the widest of the lengths'.
  std::string why_not; ///< Why it is not taken, if so.

  bool is_acceptable() const { return why_not.empty(); }
};

/// One for each finding. A candidate is acceptable if it is as good and faster by more than two bands; the given policy
/// always is.
std::vector<PolicyVerdict> judge_candidates(const PolicyStudy &study, const QualityTolerance &tolerance = {});

/// The fastest acceptable one; 0 where none is faster than the given policy.
std::size_t fastest(const std::vector<PolicyVerdict> &verdicts);

/// Of each kind of change the fastest acceptable one.
std::vector<PolicyCandidate> best_changes(const PolicyStudy &study, const std::vector<PolicyVerdict> &verdicts);

/// Policy::dense_below for a finding: dense calls are faster below it. Between two lengths the ratio of the times is
/// taken to be linear in the logarithm of the length; 0 where dense is faster at no length, and above the longest where
/// it is at all of them.
int dense_below(const PolicyStudy &study, std::size_t finding);

} // namespace sale::autotune
