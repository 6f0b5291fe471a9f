// SPDX-License-Identifier: Apache-2.0
// What ends one compile before its time: a deadline, or the caller. NVRTC 12.8 or newer asks it now and then.
#pragma once

#include "runtime/callbacks.hpp"

#include <atomic>
#include <chrono>
#include <string>

namespace sale {

class CompileGuard {
public:
  /// The clock starts now; 0 seconds = no deadline.
  CompileGuard(double seconds, const Cancellation &cancellation);

  /// Thread-safe; once true, always true.
  bool stop() const noexcept;
  bool stopped() const { return reason_ != Reason::none; }
  /// Throws Error(cancelled), or Error(compile) for the deadline.
  [[noreturn]] void fail(const std::string &spec) const;

  /// As nvrtcSetFlowCallback takes it: `guard` is a CompileGuard; 1 = stop.
  static int callback(void *guard, void *reserved) noexcept;

private:
  enum class Reason { none, deadline, cancelled };

  double seconds_;
  const Cancellation &cancellation_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  mutable std::atomic<Reason> reason_{Reason::none};
};

} // namespace sale
