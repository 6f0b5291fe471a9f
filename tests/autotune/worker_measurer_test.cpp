// SPDX-License-Identifier: Apache-2.0
// Workers that hang, crash, lie or vanish, and what is measured nevertheless.
#include "autotune/measure/worker_measurer.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sale::autotune {
namespace {

using Clock = std::chrono::steady_clock;

WorkerOptions options(const std::vector<std::string> &script = {}) {
  WorkerOptions with;
  with.program = SCRIPTED_WORKER;
  with.arguments = script;
  with.deadlines.run = 0.4;
  with.deadlines.oracle = 0.4;
  return with;
}

Task task(int tokens = 8192) {
  Task made;
  made.tokens = tokens;
  return made;
}

std::vector<Tile> tiles(const std::vector<int> &warps) {
  std::vector<Tile> made;
  for (const int number : warps) {
    made.push_back({.warps = number});
  }
  return made;
}

template <class Action>
Error error_of(const Action &action) {
  try {
    action();
  } catch (const Error &error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorKind::launch, ""};
}

bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

TEST(WorkerMeasurer, gives_what_the_worker_measured) {
  WorkerMeasurer measurer(options());
  EXPECT_EQ(measurer.gpu().name, "Scripted GPU");
  EXPECT_EQ(measurer.gpu().arch, parse_arch("sm_90a"));
  EXPECT_EQ(measurer.parameters().clock_ghz, 1.5);
  const Rounds rounds = measurer.measure(task(), tiles({4, 8}), 3);
  ASSERT_EQ(rounds.of.size(), 2U);
  EXPECT_EQ(rounds.of[0].ms, std::vector<double>(3, 4));
  EXPECT_EQ(rounds.of[1].ms, std::vector<double>(3, 8));
  EXPECT_EQ(rounds.disturbed, 1);
  EXPECT_EQ(measurer.check(task(), tiles({4})[0]).outcome, Outcome::good);
  EXPECT_EQ(measurer.facts().at("process"), std::to_string(measurer.worker_id())) << "the same one all the time";
  EXPECT_EQ(measurer.restarts(), 0);
}

TEST(WorkerMeasurer, goes_on_without_a_tile_that_hangs) {
  WorkerMeasurer measurer(options({"hang:8"}));
  const Rounds rounds = measurer.measure(task(), tiles({4, 8, 2}), 3);
  ASSERT_EQ(rounds.of.size(), 3U);
  EXPECT_EQ(rounds.of[0].ms, std::vector<double>(3, 4));
  EXPECT_EQ(rounds.of[1].outcome, Outcome::hung);
  EXPECT_EQ(rounds.of[1].why, "a run did not end within 0.4 s");
  EXPECT_TRUE(rounds.of[1].ms.empty());
  EXPECT_EQ(rounds.of[2].ms, std::vector<double>(3, 2));
  EXPECT_EQ(measurer.restarts(), 1);

  EXPECT_EQ(measurer.measure(task(1024), tiles({4, 8}), 1).of[1].outcome, Outcome::hung);
  EXPECT_EQ(measurer.check(task(), tiles({8})[0]).outcome, Outcome::hung);
  EXPECT_EQ(measurer.restarts(), 1) << "it is not tried again";
}

TEST(WorkerMeasurer, goes_on_without_tiles_that_end_the_worker) {
  WorkerMeasurer measurer(options({"crash:2", "garbage:3", "poison:5", "endless:6", "unknown-tile:7"}));
  const Rounds rounds = measurer.measure(task(), tiles({4, 2, 3, 5, 6, 7, 8}), 2);
  ASSERT_EQ(rounds.of.size(), 7U);
  EXPECT_EQ(rounds.of[0].ms, std::vector<double>(2, 4));
  EXPECT_EQ(rounds.of[6].ms, std::vector<double>(2, 8));
  for (std::size_t i = 1; i < 6; ++i) {
    EXPECT_EQ(rounds.of[i].outcome, Outcome::failed) << i;
  }
  EXPECT_EQ(rounds.of[1].why, "its process ended with signal 6 (Aborted): assertion failed");
  EXPECT_TRUE(has(rounds.of[2].why, "no line of the worker's protocol")) << rounds.of[2].why;
  EXPECT_EQ(rounds.of[3].why, "an illegal address");
  EXPECT_EQ(rounds.of[4].why, "its process wrote a line without end");
  EXPECT_EQ(rounds.of[5].why, "the worker begins with tile 77, which there is not");
  EXPECT_EQ(measurer.restarts(), 5);
}

TEST(WorkerMeasurer, says_what_is_wrong_without_a_new_worker) {
  WorkerMeasurer measurer(options({"wrong:8"}));
  EXPECT_EQ(measurer.check(task(), tiles({8})[0]).outcome, Outcome::wrong);
  EXPECT_EQ(measurer.check(task(), tiles({8})[0]).why, "it differs");
  EXPECT_EQ(measurer.measure(task(), tiles({8}), 1).of[0].outcome, Outcome::wrong);
  EXPECT_EQ(measurer.restarts(), 0);
}

TEST(WorkerMeasurer, notes_a_check_that_hangs) {
  WorkerMeasurer measurer(options({"hang:8"}));
  const Measurement checked = measurer.check(task(), tiles({8})[0]);
  EXPECT_EQ(checked.outcome, Outcome::hung);
  EXPECT_EQ(checked.why, "its check against the oracle did not end within 0.4 s");
  EXPECT_EQ(measurer.check(task(), tiles({4})[0]).outcome, Outcome::good);
}

TEST(WorkerMeasurer, throws_what_the_worker_threw) {
  WorkerMeasurer measurer(options());
  const Error error = error_of([&] { measurer.measure(task(1 << 21), tiles({4}), 1); });
  EXPECT_EQ(error.kind(), ErrorKind::load);
  EXPECT_STREQ(error.what(), "calls are too long");
  EXPECT_EQ(measurer.measure(task(), tiles({4}), 1).of[0].outcome, Outcome::good);
  EXPECT_EQ(measurer.restarts(), 0);
}

TEST(WorkerMeasurer, gives_up_after_three_workers_that_came_to_nothing) {
  WorkerMeasurer measurer(options({"die-at-start:0", "die-in-data:0"}));
  for (const auto &action :
       std::vector<std::function<void()>>{[&] { measurer.gpu(); }, [&] { measurer.measure(task(), tiles({4}), 1); }}) {
    const Error error = error_of(action);
    EXPECT_EQ(error.kind(), ErrorKind::launch);
    EXPECT_STREQ(error.what(), "3 workers in a row came to nothing; the last one: its process ended with exit code 1: "
                               "no device is left");
  }
  EXPECT_EQ(measurer.restarts(), 5);
}

TEST(WorkerMeasurer, says_which_program_is_none) {
  WorkerOptions with = options();
  with.program = "/no/such/program";
  WorkerMeasurer measurer(with);
  const Error error = error_of([&] { measurer.gpu(); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_STREQ(error.what(), "the worker /no/such/program cannot be started: No such file or directory");
}

TEST(WorkerMeasurer, ends_at_once_when_it_is_cancelled) {
  WorkerOptions with = options({"hang:8"});
  with.deadlines.run = 60;
  bool stop = false;
  with.cancelled = [&] { return stop; };
  WorkerMeasurer measurer(with);
  measurer.gpu();
  const pid_t worker = measurer.worker_id();
  EXPECT_EQ(::getpgid(worker), worker) << "so that Ctrl-C does not reach it";
  stop = true;
  EXPECT_EQ(error_of([&] { measurer.measure(task(), tiles({8}), 1); }).kind(), ErrorKind::cancelled);
  EXPECT_EQ(::kill(worker, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  stop = false;
  EXPECT_EQ(measurer.measure(task(), tiles({4}), 1).of[0].outcome, Outcome::good) << "it may be used again";
}

TEST(WorkerMeasurer, leaves_no_worker_behind_when_it_is_killed) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0); // so that the orphan can be waited for here
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    WorkerOptions with = options({"hang:8"});
    with.deadlines.run = 60;
    WorkerMeasurer measurer(with);
    measurer.gpu();
    const pid_t worker = measurer.worker_id();
    if (::write(pipe[1], &worker, sizeof(worker)) == sizeof(worker)) {
      measurer.measure(task(), tiles({8}), 1);
    }
    ::_exit(0);
  }
  pid_t worker = 0;
  ASSERT_EQ(::read(pipe[0], &worker, sizeof(worker)), static_cast<ssize_t>(sizeof(worker)));
  ::usleep(50'000); // until it hangs
  ::kill(parent, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(parent, &status, 0), parent);
  EXPECT_EQ(::waitpid(worker, &status, 0), worker);
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

PolicyCalls policy_calls(const std::vector<int> &windows) {
  PolicyCalls calls;
  calls.tokens = 8192;
  for (const int window : windows) {
    calls.policies.emplace_back().window = window;
  }
  return calls;
}

TEST(WorkerMeasurer, goes_on_without_policies_that_end_the_worker) {
  WorkerMeasurer measurer(options({"hang:2", "crash:3", "poison:5"}));
  const PolicyRounds measured = measurer.time_policies(policy_calls({4, 2, 3, 5, 8}), 2);
  ASSERT_EQ(measured.rounds.of.size(), 5U);
  EXPECT_EQ(measured.rounds.of[0].ms, std::vector<double>(2, 4));
  EXPECT_EQ(measured.rounds.of[1].outcome, Outcome::hung);
  EXPECT_EQ(measured.rounds.of[2].outcome, Outcome::failed);
  EXPECT_EQ(measured.rounds.of[3].why, "an illegal address");
  EXPECT_EQ(measured.rounds.of[4].ms, std::vector<double>(2, 8));
  EXPECT_EQ(measured.density, (std::vector<double>{0.25, 0, 0, 0, 0.25}));
  EXPECT_EQ(measured.rounds.disturbed, 2);
  EXPECT_EQ(measurer.restarts(), 3);
}

TEST(WorkerMeasurer, loses_patience_with_workers_that_leave_policies_out) {
  WorkerMeasurer measurer(options({"short-answer:0"}));
  const Error error = error_of([&] { measurer.time_policies(policy_calls({4}), 1); });
  EXPECT_TRUE(has(error.what(), "it did not answer for each policy")) << error.what();
}

} // namespace
} // namespace sale::autotune
