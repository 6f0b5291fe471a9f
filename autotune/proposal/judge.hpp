// SPDX-License-Identifier: Apache-2.0
// How good a policy's results are, on the CPU oracle: a few heads of one sequence.
#pragma once

#include "autotune/measure/inputs.hpp"
#include "autotune/proposal/candidates.hpp"
#include "reference/attend.hpp"
#include "reference/tensors.hpp"

#include <vector>

namespace sale::autotune {

struct PolicyQuality {
  double recall = 0; ///< Dense attention mass that is kept, mean over rows.
  double rel_l1 = 0; ///< sum |out - dense| / sum |dense|
  float shift = 0;   ///< That was calibrated for an estimate which needs one; the largest of the judged heads'.
};

class PolicyJudge {
public:
  static constexpr int most_tokens = 4096;

  /// On the first `tokens` of the data, at most most_tokens, and the first and last KV heads with their query heads.
  PolicyJudge(const InputSettings &settings, const Problem &problem, int tokens);

  /// An estimate of fewer channels, or of pruned queries, that brings no shift gets one, the same for every head, which
  /// makes it keep 0.99 of what the exact mask keeps (docs/calibrate.md).
  PolicyQuality judge(Policy &policy) const;

  int tokens() const { return data_.shape.kv_len; }

private:
  // Per-head values of the judged heads alone.
  Policy of_judged_heads(const Policy &policy) const;

  Problem problem_; ///< The whole one.
  std::vector<int> kv_heads_;
  io::Qkv data_; ///< Of the judged heads.
  reference::Tensors tensors_;
  reference::Attention dense_;
};

} // namespace sale::autotune
