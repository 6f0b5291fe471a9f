// SPDX-License-Identifier: Apache-2.0
// Ctrl-C during long work: the first asks the work to stop, the second ends the process as ever. So does SIGTERM.
#pragma once

namespace sale::cli {

/// As long as it lives; one at a time. A signal that was ignored before stays so.
class Interruption {
public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption &) = delete;
  Interruption &operator=(const Interruption &) = delete;

  /// The signal that came, or 0.
  int signal() const;
};

} // namespace sale::cli
