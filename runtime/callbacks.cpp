// SPDX-License-Identifier: Apache-2.0
#include "runtime/callbacks.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

namespace sale {

namespace {

constexpr long long milliseconds_between_questions = 5;

long long milliseconds_now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

} // namespace

Callbacks::Callbacks(const Options &options)
    : warning_(options.warning), progress_(options.progress), cancelled_(options.cancelled) {}

void Callbacks::warn(const std::string &sentence) const {
  const std::scoped_lock lock(mutex_);
  if (warning_) {
    warning_(sentence);
  } else {
    fmt::print(stderr, "sale: warning: {}\n", sentence);
  }
}

void Callbacks::progress(const KernelInfo &info, int done, int total) const {
  const std::scoped_lock lock(mutex_);
  if (progress_) {
    progress_(info, done, total);
  }
}

bool Callbacks::cancelled() const {
  if (!cancelled_) {
    return false;
  }
  const std::scoped_lock lock(mutex_);
  return cancelled_();
}

bool Callbacks::cancelled_if_free() const {
  if (!cancelled_) {
    return false;
  }
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && cancelled_();
}

template <class Ask>
bool Cancellation::remember(const Ask &ask) const {
  if (cancelled_) {
    return true;
  }
  try {
    if (!ask()) {
      return false;
    }
  } catch (...) {
    const std::scoped_lock lock(mutex_);
    thrown_ = std::current_exception();
  }
  cancelled_ = true;
  return true;
}

bool Cancellation::now() const {
  return remember([this] { return callbacks_.cancelled(); });
}

bool Cancellation::soon() const noexcept {
  const long long now = milliseconds_now();
  if (!cancelled_ && now - last_asked_ < milliseconds_between_questions) {
    return false;
  }
  last_asked_ = now;
  return remember([this] { return callbacks_.cancelled_if_free(); });
}

void Cancellation::check() const {
  if (now()) {
    fail();
  }
}

void Cancellation::fail() const {
  const std::scoped_lock lock(mutex_);
  if (thrown_) {
    std::rethrow_exception(thrown_);
  }
  throw Error(ErrorKind::cancelled, "cancelled (Options.cancelled)");
}

} // namespace sale
