// SPDX-License-Identifier: Apache-2.0
// The cases that stand for all: every pair of values of what changes a kernel or its work.
#pragma once

#include "check/check_case.hpp"

#include <vector>

namespace sale::check {

/// Holds every pair of values that matter in a selecting call, and every value with and without selection; and every
/// estimator on every architecture where it keeps some blocks and drops others, and long masks. Else small shapes:
/// minutes on a CPU.
std::vector<CheckCase> covering_set();

/// Every kernel: the product of all that changes source; the rest is drawn.
std::vector<CheckCase> full_product();

} // namespace sale::check
