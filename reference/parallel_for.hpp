// SPDX-License-Identifier: Apache-2.0
// Runs body(0) .. body(count - 1) on all cores, in any order; rethrows the first exception.
#pragma once

#include <cstdint>
#include <functional>

namespace sale::reference {

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)> &body);

} // namespace sale::reference
