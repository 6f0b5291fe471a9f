// SPDX-License-Identifier: Apache-2.0
// The command that compiles the kernels of a Plan ahead of time: what an error of a frozen Engine advises.
#pragma once

#include "sale/sale.hpp"

#include <string>
#include <vector>

namespace sale {

/// "sale prewarm --arch sm_90a --heads 32 ...": one line for a shell, which says all that decides kernels (not tau,
/// sink, window or anything else that calls read when they run).
std::string prewarm_command(const std::vector<std::string> &archs, const Problem &problem, const Policy &policy,
                            const Serving &serving);

} // namespace sale
