// SPDX-License-Identifier: Apache-2.0
#include "runtime/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace sale {

void parallel_for(int count, int jobs, const std::function<void(int)> &work) {
  if (jobs <= 0) {
    jobs = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  }
  std::atomic<int> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto loop = [&] {
    for (int i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::scoped_lock lock(mutex);
        if (!failure) {
          failure = std::current_exception();
        }
        next = count;
      }
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < std::min(jobs, count); ++i) {
    try {
      helpers.emplace_back(loop);
    } catch (const std::system_error &) {
      break; // Fewer threads do the same work.
    }
  }
  loop();
  for (std::thread &helper : helpers) {
    helper.join();
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

} // namespace sale
