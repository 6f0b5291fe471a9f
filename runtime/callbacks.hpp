// SPDX-License-Identifier: Apache-2.0
// What the caller gave to be called: never two at once, from whatever thread.
#pragma once

#include "sale/sale.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <string>

namespace sale {

class Callbacks {
public:
  explicit Callbacks(const Options &options);

  /// Whether anybody hears a sentence of this level; saves making it.
  bool says(LogLevel level) const { return level <= log_level_; }
  void log(LogLevel level, const std::string &sentence) const;
  void warn(const std::string &sentence) const { log(LogLevel::warning, sentence); }
  void progress(const KernelInfo &info, int done, int total) const;
  bool cancelled() const;
  /// As cancelled, but false rather than wait for another callback.
  bool cancelled_if_free() const;

private:
  LogLevel log_level_;
  std::function<void(LogLevel, const std::string &)> log_;
  std::function<void(const KernelInfo &, int, int)> progress_;
  std::function<bool()> cancelled_;
  mutable std::mutex mutex_;
};

/// Whether one build is cancelled. Once it is, it stays so; an exception of Options::cancelled cancels too.
class Cancellation {
public:
  explicit Cancellation(const Callbacks &callbacks) : callbacks_(callbacks) {}

  /// Asks.
  bool now() const;
  /// For what is called thousands of times a second: asks now and then, and never waits for another callback.
  bool soon() const noexcept;
  /// Throws Error(cancelled), or what Options::cancelled threw, when it is.
  void check() const;
  [[noreturn]] void fail() const;

private:
  template <class Ask>
  bool remember(const Ask &ask) const;

  const Callbacks &callbacks_;
  mutable std::atomic<bool> cancelled_{false};
  mutable std::atomic<long long> last_asked_{0}; ///< Milliseconds of the steady clock.
  mutable std::mutex mutex_;
  mutable std::exception_ptr thrown_;
};

} // namespace sale
