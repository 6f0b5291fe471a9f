// SPDX-License-Identifier: Apache-2.0
// Whether a tile computes what it must: small shapes for the CPU oracle, and what it may differ by from the default
// tile on a task's own shape.
#pragma once

#include "autotune/measure/task.hpp"
#include "check/check_case.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sale::autotune {

/// Odd shapes of few heads that run the task's kernel with its policy.
std::vector<check::CheckCase> oracle_cases(const Task &task);

/// Of one call: what tuning must not change.
struct StageResult {
  /// prepare, select: the mask, and of a few heads thresholds, the estimate's thresholds, query codes, their scales,
  /// and where pruned queries have values.
  std::vector<std::vector<std::uint8_t>> same;
  /// attend: elements of the output, a few heads of [tokens, v_head_dim] after one another.
  std::vector<std::uint16_t> out;
};

/// A sentence that says how a tile's result is not the default tile's; empty where it is, outputs within the roundings
/// of both (docs/numerics.md, sections 11 and 14). `largest_value`: the largest |v|.
std::string difference(const StageResult &result, const StageResult &expected, const Task &task, float largest_value);

} // namespace sale::autotune
