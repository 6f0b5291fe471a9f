// SPDX-License-Identifier: Apache-2.0
#include "runtime/callbacks.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

namespace sale {

namespace {

constexpr long long milliseconds_between_questions = 5;

long long milliseconds_now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

constexpr std::pair<std::string_view, LogLevel> level_names[] = {
    {"off", LogLevel::off}, {"warning", LogLevel::warning}, {"info", LogLevel::info}, {"debug", LogLevel::debug}};

std::string_view name_of(LogLevel level) {
  for (const auto &[name, each] : level_names) {
    if (each == level) {
      return name;
    }
  }
  return "";
}

// Nothing for a word that is none of them.
std::optional<LogLevel> level_of_environment() {
  const char *word = std::getenv("SALE_LOG");
  if (word == nullptr || *word == '\0') {
    return LogLevel::warning;
  }
  for (const auto &[name, level] : level_names) {
    if (name == word) {
      return level;
    }
  }
  return std::nullopt;
}

} // namespace

Callbacks::Callbacks(const Options &options)
    : log_level_(options.log_level), log_(options.log), progress_(options.progress), cancelled_(options.cancelled) {
  if (log_level_ == LogLevel::from_environment) {
    const std::optional<LogLevel> level = level_of_environment();
    log_level_ = level.value_or(LogLevel::warning);
    if (!level) {
      warn(fmt::format("SALE_LOG is \"{}\", taken for warning; it is off, warning, info or debug",
                       std::getenv("SALE_LOG")));
    }
  }
}

void Callbacks::log(LogLevel level, const std::string &sentence) const {
  if (!says(level)) {
    return;
  }
  const std::scoped_lock lock(mutex_);
  if (log_) {
    log_(level, sentence);
  } else {
    fmt::print(stderr, "sale: {}: {}\n", name_of(level), sentence);
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
