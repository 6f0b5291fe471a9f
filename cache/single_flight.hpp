// SPDX-License-Identifier: Apache-2.0
// Concurrent callers with one key share one build. A failure reaches every waiter and is forgotten: the next call
// builds again.
#pragma once

#include "sale/error.hpp"

#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include <unistd.h>

namespace sale {

template <class Value>
class SingleFlight {
public:
  using Result = std::shared_ptr<const Value>;

  /// What `build` returns, here or in the thread that already builds it. A waiter whose builder was cancelled builds
  /// itself; one that is `cancelled` itself throws Error(cancelled). `build` must not run the same key.
  Result run(const std::string &key, const std::function<Result()> &build,
             const std::function<bool()> &cancelled = {}) {
    for (;;) {
      std::promise<Result> promise;
      if (const auto other = board(key, promise)) {
        try {
          return wait(*other, cancelled);
        } catch (const Error &error) {
          if (error.kind() != ErrorKind::cancelled || (cancelled && cancelled())) {
            throw;
          }
        }
      } else {
        return fly(key, promise, build);
      }
    }
  }

private:
  struct Flight {
    std::shared_future<Result> result;
    pid_t process = 0;
  };

  // The flight to wait for, or nothing when `promise` now is the one of this key.
  std::optional<std::shared_future<Result>> board(const std::string &key, std::promise<Result> &promise) {
    const pid_t process = ::getpid();
    const std::scoped_lock lock(mutex_);
    Flight &flight = flights_[key];
    // What another thread builds across a fork ends in the parent only.
    if (flight.process == process) {
      return flight.result;
    }
    flight = {promise.get_future().share(), process};
    return std::nullopt;
  }

  Result fly(const std::string &key, std::promise<Result> &promise, const std::function<Result()> &build) {
    try {
      Result result = build();
      promise.set_value(result);
      land(key);
      return result;
    } catch (...) {
      // Forgotten before it is told: whoever hears of it may at once try again.
      land(key);
      promise.set_exception(std::current_exception());
      throw;
    }
  }

  void land(const std::string &key) {
    const std::scoped_lock lock(mutex_);
    flights_.erase(key);
  }

  static Result wait(const std::shared_future<Result> &flight, const std::function<bool()> &cancelled) {
    while (cancelled && flight.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
      if (cancelled()) {
        throw Error(ErrorKind::cancelled, "cancelled while another thread built the same kernel");
      }
    }
    return flight.get();
  }

  std::mutex mutex_;
  std::unordered_map<std::string, Flight> flights_;
};

} // namespace sale
