// SPDX-License-Identifier: Apache-2.0
// A loop over independent pieces of work on a few threads.
#pragma once

#include <functional>

namespace sale {

/// Calls work(0) .. work(count - 1) on at most `jobs` threads (0 = one per core) and waits. After the first exception
/// no new piece starts; that exception is rethrown.
void parallel_for(int count, int jobs, const std::function<void(int)> &work);

} // namespace sale
