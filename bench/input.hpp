// SPDX-License-Identifier: Apache-2.0
// Q, K and V that are made for a benchmark.
#pragma once

#include "io/qkv.hpp"

#include <optional>

namespace sale::bench {

/// Structured data (docs/synth.md) whose exact mask at tau 0.004 has this density; without one, values of a normal
/// distribution, of which no mask can leave much out.
io::Qkv make_input(const Problem &problem, const Shape &shape, std::optional<double> density);

} // namespace sale::bench
