// SPDX-License-Identifier: Apache-2.0
// Few choices that together hold every pair of values of any two factors.
#pragma once

#include <functional>
#include <vector>

namespace sale::check {

/// One value per factor, by its index.
using Choice = std::vector<int>;

/// Whether a choice holds the pair of its values of factors f < g: not if one of them changes nothing there. It may
/// look at the first two values only.
using Holds = std::function<bool(const Choice &choice, int f, int g)>;

/// `sizes`: how many values each factor has, at least two factors. Pairs that no choice can hold are left out. The same
/// choices on every machine.
std::vector<Choice> pairwise(const std::vector<int> &sizes, const Holds &holds);

} // namespace sale::check
