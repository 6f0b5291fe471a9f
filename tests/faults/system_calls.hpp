// SPDX-License-Identifier: Apache-2.0
// Counts the system calls that the library makes, and kills the process in the middle of one of them or lets it fail.
// The linker puts these functions in the place of the C library's (-Wl,--wrap).
#pragma once

namespace sale::faults {

struct CallFault {
  long at = 0;            ///< The call, from 1; 0 = none.
  int error = 0;          ///< What it fails with; 0 = the process is killed.
  bool from_then = false; ///< All later calls fail too.
};

/// Counts from here on.
void arm(const CallFault &fault);

/// Since then.
long counted_calls();

} // namespace sale::faults
