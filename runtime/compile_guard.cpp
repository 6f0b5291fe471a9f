// SPDX-License-Identifier: Apache-2.0
#include "runtime/compile_guard.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

namespace sale {

CompileGuard::CompileGuard(double seconds, const Cancellation &cancellation)
    : seconds_(seconds), cancellation_(cancellation) {}

bool CompileGuard::stop() const noexcept {
  if (stopped()) {
    return true;
  }
  if (cancellation_.soon()) {
    reason_ = Reason::cancelled;
  } else if (seconds_ > 0 && std::chrono::steady_clock::now() - start_ > std::chrono::duration<double>(seconds_)) {
    reason_ = Reason::deadline;
  }
  return stopped();
}

void CompileGuard::fail(const std::string &spec) const {
  if (reason_ == Reason::cancelled) {
    cancellation_.fail();
  }
  throw Error(ErrorKind::compile, fmt::format("compiling {} took longer than its deadline of {} s", spec, seconds_),
              {.where = "nvrtcCompileProgram",
               .spec = spec,
               .advice = "raise the deadline (Options.compile_seconds, --deadline), or compile fewer kernels at once "
                         "(Options.jobs, --jobs)"});
}

int CompileGuard::callback(void *guard, void *) noexcept {
  return static_cast<const CompileGuard *>(guard)->stop() ? 1 : 0;
}

} // namespace sale
