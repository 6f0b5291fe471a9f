// SPDX-License-Identifier: Apache-2.0
#include "reference/parallel_for.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace sale::reference {

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)> &body) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;

  const auto work = [&] {
    for (std::int64_t i = next++; i < count; i = next++) {
      try {
        body(i);
      } catch (...) {
        next = count;
        const std::scoped_lock lock(failure_mutex);
        if (!failure) {
          failure = std::current_exception();
        }
      }
    }
  };

  const std::int64_t cores = std::max(1U, std::thread::hardware_concurrency());
  {
    std::vector<std::jthread> helpers;
    for (std::int64_t i = 1; i < std::min(cores, count); ++i) {
      helpers.emplace_back(work);
    }
    work();
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

} // namespace sale::reference
