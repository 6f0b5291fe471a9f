// SPDX-License-Identifier: Apache-2.0
// Counts what this test program takes from the heap.
#pragma once

namespace sale {

/// Calls of operator new so far, by every thread.
long allocations();

} // namespace sale
