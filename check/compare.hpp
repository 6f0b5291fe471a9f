// SPDX-License-Identifier: Apache-2.0
// A device's result against the CPU oracle, stage by stage, within the bounds of docs/numerics.md, sections 11 to 14.
#pragma once

#include "check/device_run.hpp"
#include "reference/attend.hpp"

#include <string>
#include <vector>

namespace sale::check {

/// Sentences that say what is wrong; empty when all is well.
using Problems = std::vector<std::string>;

/// The call's, the policy's for every batch element, or the mean of the keys.
std::vector<float> kbar_of(const DeviceRun &run, const reference::Tensors &tensors);

/// Of a selecting run: means, codes and mask given the device's own inputs of each stage, thresholds, the mask end to
/// end, and the output given the device's mask.
Problems compare_method(const DeviceRun &run, const reference::Tensors &tensors, const DeviceResult &result);

/// Output and lse of any run. `policy` and, where it says fp8_attend, kbar tell how exact they must be. Rows [batch,
/// num_q_heads, q_len] that are true in `undecided` are not compared.
Problems compare_output(const Problem &problem, const reference::Tensors &tensors, const DeviceResult &result,
                        const reference::Attention &expected, const Policy &policy = {},
                        const std::vector<float> &kbar = {}, const std::vector<bool> &undecided = {});

} // namespace sale::check
