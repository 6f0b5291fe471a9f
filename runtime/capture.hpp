// SPDX-License-Identifier: Apache-2.0
// What must not happen while a stream is captured into a graph, and how not to spoil a capture that cannot be seen.
#pragma once

#include "runtime/driver.hpp"

namespace sale {

/// Throws Error(capturing) when `stream`, or for the legacy stream any that waits for it, is being captured; the
/// capture stays valid. The stream's context is current. `call` is the caller's, for the sentence.
void require_no_capture(const Driver &driver, cu::Stream stream, const char *call);

/// While it lives, calls of this thread that a capture anywhere in the process would forbid are allowed and leave that
/// capture as it is.
class RelaxedCapture {
public:
  explicit RelaxedCapture(const Driver &driver);
  ~RelaxedCapture();
  RelaxedCapture(const RelaxedCapture &) = delete;
  RelaxedCapture &operator=(const RelaxedCapture &) = delete;

private:
  const Driver &driver_;
  cu::CaptureMode before_ = cu::capture_relaxed;
  bool exchanged_ = false;
};

} // namespace sale
