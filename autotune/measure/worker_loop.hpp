// SPDX-License-Identifier: Apache-2.0
// The worker's side: requests are read, a Measurer is asked, answers are written.
#pragma once

#include "autotune/measure/measurer.hpp"

#include <functional>

namespace sale::autotune {

/// Serves until the input ends, or `spent` says after an answer that the process is of no more use. Throws Error for
/// lines that are no requests.
void serve(int input, int output, Measurer &measurer, const std::function<bool()> &spent = {});

/// From now on this process is killed when its parent ends, however that does, even while a kernel hangs.
void end_with_parent();

/// A new descriptor of standard output; what others print there from now on goes to standard error.
int take_standard_output();

} // namespace sale::autotune
