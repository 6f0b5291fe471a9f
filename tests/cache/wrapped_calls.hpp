// SPDX-License-Identifier: Apache-2.0
// Lets one chosen system call of the calling thread fail, and counts them. The linker puts these functions in the place
// of the C library's (-Wl,--wrap); fsync does nothing even where it succeeds, as no test here cuts the power.
#pragma once

#include <string>
#include <vector>

namespace sale {

struct CallFault {
  std::string call = {};  ///< "openat"; empty = whichever it is.
  int occurrence = 0;     ///< From 1; 0 = none.
  int error = 0;          ///< errno.
  bool is_short = false;  ///< Instead of an error: half of the bytes are read or written.
  bool from_then = false; ///< All later ones fail too.
};

/// In force while it lives.
class InjectedFault {
public:
  explicit InjectedFault(const CallFault &fault);
  ~InjectedFault();
  InjectedFault(const InjectedFault &) = delete;
  InjectedFault &operator=(const InjectedFault &) = delete;
  bool happened() const;
};

/// The calls that a test makes itself are its own business.
class FaultsPaused {
public:
  FaultsPaused();
  ~FaultsPaused();
  FaultsPaused(const FaultsPaused &) = delete;
  FaultsPaused &operator=(const FaultsPaused &) = delete;
};

/// Every call that can be chosen.
std::vector<std::string> wrapped_calls();

} // namespace sale
