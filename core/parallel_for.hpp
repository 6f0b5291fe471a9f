// SPDX-License-Identifier: Apache-2.0
// A loop over independent pieces of work on a few threads.
#pragma once

#include <cstdint>
#include <functional>

namespace sale {

/// Calls work(0) .. work(count - 1) on at most `jobs` threads (0 = one per core), in any order, and waits; on fewer
/// when the system gives no more. After the first exception no new piece starts; that exception is rethrown.
void parallel_for(std::int64_t count, const std::function<void(std::int64_t)> &work, int jobs = 0);

} // namespace sale
