// SPDX-License-Identifier: Apache-2.0
// Counts what this test program takes from the heap.
#pragma once

namespace sale {

/// Calls of malloc and of whatever else takes memory, operator new among them, so far and by every thread.
long allocations();

} // namespace sale
