// SPDX-License-Identifier: Apache-2.0
#include "core/parallel_for.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <dlfcn.h>
#include <pthread.h>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> threads_are_refused{false};

} // namespace

// Stands before the C library's, so that a test can have no thread.
extern "C" int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                              void *argument) {
  if (threads_are_refused) {
    return EAGAIN;
  }
  static const auto create = reinterpret_cast<decltype(&pthread_create)>(::dlsym(RTLD_NEXT, "pthread_create"));
  return create(thread, attributes, start, argument);
}

namespace sale {
namespace {

TEST(ParallelFor, DoesEveryPieceOnce) {
  for (const int jobs : {0, 1, 3, 100}) {
    std::vector<std::atomic<int>> done(50);
    parallel_for(50, [&](std::int64_t i) { ++done[static_cast<std::size_t>(i)]; }, jobs);
    for (const auto &count : done) {
      EXPECT_EQ(count, 1);
    }
  }
}

TEST(ParallelFor, DoesNothingForNoPieces) {
  parallel_for(0, [](std::int64_t) { FAIL(); }, 4);
}

TEST(ParallelFor, RethrowsTheFirstExceptionAndStartsNothingMore) {
  std::atomic<int> started{0};
  const auto work = [&](std::int64_t) {
    ++started;
    throw std::runtime_error("no");
  };
  EXPECT_THROW(parallel_for(1000, work, 2), std::runtime_error);
  EXPECT_LE(started, 2);
}

TEST(ParallelFor, DoesEverythingOnThisThreadWhenThereAreNoOthers) {
  threads_are_refused = true;
  EXPECT_THROW(std::thread([] {}), std::system_error);
  std::vector<std::thread::id> done(10);
  parallel_for(10, [&](std::int64_t i) { done[static_cast<std::size_t>(i)] = std::this_thread::get_id(); }, 4);
  threads_are_refused = false;
  EXPECT_EQ(done, std::vector<std::thread::id>(10, std::this_thread::get_id()));
}

} // namespace
} // namespace sale
