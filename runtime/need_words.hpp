// SPDX-License-Identifier: Apache-2.0
// What decides the kernels of a Plan, as words of the command line that `sale prewarm` and `sale tune` share (not tau,
// sink, window or anything else that calls read when they run).
#pragma once

#include "sale/sale.hpp"

#include <string>
#include <vector>

namespace sale {

/// "--heads", "32", ...
std::vector<std::string> problem_words(const Problem &problem);
/// "--estimator", "fp8", ...
std::vector<std::string> policy_words(const Policy &policy);

} // namespace sale
