// SPDX-License-Identifier: Apache-2.0
#include "cache/single_flight.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include <sys/wait.h>

namespace sale {
namespace {

using Flights = SingleFlight<int>;
using Result = Flights::Result;

/// Runs one build in a thread of its own that ends when it is told to.
class SlowBuild {
public:
  SlowBuild(Flights &flights, const std::string &key, std::function<Result()> end)
      : thread_([this, &flights, key, end = std::move(end)] {
          try {
            result = flights.run(key, [&] {
              begun_.count_down();
              may_end_.wait();
              return end();
            });
          } catch (const Error &caught) {
            error = caught.what();
          }
        }) {
    begun_.wait();
  }
  void let_end() { may_end_.count_down(); }
  void join() { thread_.join(); }

  Result result;
  std::string error;

private:
  std::latch begun_{1};
  std::latch may_end_{1};
  std::thread thread_;
};

void let_others_wait() { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }

TEST(SingleFlightTest, GivesConcurrentCallersOneBuild) {
  Flights flights;
  SlowBuild first(flights, "key", [] { return std::make_shared<const int>(7); });
  std::vector<Result> results(8);
  std::vector<std::thread> threads;
  for (Result &result : results) {
    threads.emplace_back(
        [&] { result = flights.run("key", []() -> Result { throw Error(ErrorKind::compile, "a second build"); }); });
  }
  let_others_wait();
  first.let_end();
  first.join();
  for (std::thread &thread : threads) {
    thread.join();
  }
  for (const Result &result : results) {
    EXPECT_EQ(result, first.result);
  }
}

TEST(SingleFlightTest, BuildsDifferentKeysAtOnce) {
  Flights flights;
  SlowBuild first(flights, "one", [] { return std::make_shared<const int>(1); });
  EXPECT_EQ(*flights.run("two", [] { return std::make_shared<const int>(2); }), 2);
  first.let_end();
  first.join();
}

TEST(SingleFlightTest, BuildsAgainWhatIsAskedForLater) {
  Flights flights;
  int builds = 0;
  const auto build = [&] { return std::make_shared<const int>(++builds); };
  EXPECT_EQ(*flights.run("key", build), 1);
  EXPECT_EQ(*flights.run("key", build), 2);
}

TEST(SingleFlightTest, TellsEveryWaiterOfAFailureAndForgetsIt) {
  Flights flights;
  SlowBuild first(flights, "key", []() -> Result { throw Error(ErrorKind::compile, "it does not compile"); });
  std::atomic<int> told{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      try {
        flights.run("key", []() -> Result { throw Error(ErrorKind::compile, "a second build"); });
      } catch (const Error &error) {
        told += std::string(error.what()) == "it does not compile" ? 1 : 0;
      }
    });
  }
  let_others_wait();
  first.let_end();
  first.join();
  for (std::thread &thread : threads) {
    thread.join();
  }
  EXPECT_EQ(told, 8);
  EXPECT_EQ(first.error, "it does not compile");
  EXPECT_EQ(*flights.run("key", [] { return std::make_shared<const int>(5); }), 5);
}

TEST(SingleFlightTest, AWaiterOfACancelledBuildBuildsItself) {
  Flights flights;
  SlowBuild first(flights, "key", []() -> Result { throw Error(ErrorKind::cancelled, "cancelled"); });
  Result result;
  std::thread waiter([&] { result = flights.run("key", [] { return std::make_shared<const int>(3); }); });
  let_others_wait();
  first.let_end();
  first.join();
  waiter.join();
  EXPECT_EQ(first.error, "cancelled");
  ASSERT_TRUE(result);
  EXPECT_EQ(*result, 3);
}

TEST(SingleFlightTest, ACancelledWaiterDoesNotWaitForTheBuild) {
  Flights flights;
  SlowBuild first(flights, "key", [] { return std::make_shared<const int>(7); });
  try {
    flights.run("key", [] { return std::make_shared<const int>(1); }, [] { return true; });
    ADD_FAILURE() << "it did not stop";
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
  first.let_end();
  first.join();
  EXPECT_EQ(*first.result, 7);
}

TEST(SingleFlightTest, AForkedChildDoesNotWaitForItsParentsThreads) {
  Flights flights;
  SlowBuild first(flights, "key", [] { return std::make_shared<const int>(7); });
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);
    ::_exit(*flights.run("key", [] { return std::make_shared<const int>(9); }));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 9);
  first.let_end();
  first.join();
}

TEST(SingleFlightTest, NeverMixesKeysUnderLoad) {
  Flights flights;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const int key = (t * 7 + i) % 3;
        wrong += *flights.run(std::to_string(key), [&] { return std::make_shared<const int>(key); }) == key ? 0 : 1;
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
}

} // namespace
} // namespace sale
