// SPDX-License-Identifier: Apache-2.0
// The cases that stand for all: every pair of values of what changes a kernel or its work.
#pragma once

#include "check/check_case.hpp"
#include "check/pairwise.hpp"

#include <string>
#include <vector>

namespace sale::check {

/// What varies from case to case. The first two decide which of the others matter.
struct Factor {
  std::string name;
  std::vector<std::string> values;
};
const std::vector<Factor> &factors();

/// False for values that a case never looks at: a dense call has no estimator.
bool matters(const Choice &choice, int factor);

CheckCase make_case(const Choice &choice, std::uint64_t seed);

/// Holds every pair of values that matter in a selecting call, and every value with and without selection; and every
/// estimator on every architecture where it keeps some blocks and drops others, and long masks. Else small shapes:
/// minutes on a CPU.
std::vector<CheckCase> covering_set();

/// Every kernel: the product of all that changes source; the rest is drawn.
std::vector<CheckCase> full_product();

} // namespace sale::check
