// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/crowd.hpp"
#include "tests/faults/rows.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <random>
#include <thread>

namespace sale::faults {

namespace {

constexpr Job alone{.keys = 2, .compile_ms = 1};

// System calls of a worker that nobody disturbs.
long steps_of(const Job &job) {
  Round round;
  Crowd crowd(round, job);
  crowd.go();
  return crowd.wait();
}

// Each in turn; where there are more than rounds, evenly among them.
long step_of(int round, int rounds, long steps) {
  return 1 + (rounds < steps ? round * steps / rounds : round % steps);
}

// Whatever the first one leaves behind, the next one builds once, and the one after that finds everything.
Row disturbed(const Job &first) {
  Job undisturbed = first;
  undisturbed.fault = {};
  Round round;
  round.run(first);
  round.forget_compiles();
  round.run(undisturbed);
  const Row after = round.result();
  round.forget_compiles();
  round.run(undisturbed);
  Row row = round.result();
  row.most_compiles += after.most_compiles;
  row.compiles += after.compiles;
  return row;
}

} // namespace

Row killed_alone(int rounds) {
  const long steps = steps_of(alone);
  Row row{.fault = fmt::format("kill -9 at each of {} system calls of 2 builds", steps), .allowed_compiles = 1};
  for (int i = 0; i < rounds; ++i) {
    Job job = alone;
    job.fault = {.at = step_of(i, rounds, steps)};
    row.add(disturbed(job));
  }
  return row;
}

Row killed_while_evicting(int rounds) {
  Job job{.keys = 4, .compile_ms = 1, .max_files = 2};
  const long steps = steps_of(job);
  // What there is no room for is compiled again by the second of the next ones.
  Row row{.fault = fmt::format("kill -9 at each of {} system calls of 4 builds, room for 2", steps),
          .allowed_compiles = 2};
  for (int i = 0; i < rounds; ++i) {
    job.fault = {.at = step_of(i, rounds, steps)};
    row.add(disturbed(job));
  }
  return row;
}

Row killed_among_others(int rounds) {
  Job job{.processes = 4, .threads = 2, .keys = 2, .compile_ms = 5};
  const long steps = steps_of({.threads = 2, .keys = 2, .compile_ms = 5});
  // What the dead one compiled and did not publish is compiled again.
  Row row{.fault = fmt::format("kill -9 at each of {} system calls, 3 other processes race", steps),
          .allowed_compiles = 2};
  for (int i = 0; i < rounds; ++i) {
    Round round;
    job.fault = {.at = step_of(i, rounds, steps)};
    round.run(job);
    row.add(round.result());
  }
  return row;
}

Row one_call_fails(int rounds) {
  constexpr std::array errors = {EIO, ENOSPC, EINTR, ESTALE, EACCES, ENOLCK};
  const long steps = steps_of(alone);
  Row row{.fault = fmt::format("each of {} system calls fails in {} ways", steps, errors.size()),
          .allowed_compiles = 1};
  const long cases = steps * static_cast<long>(errors.size());
  for (int i = 0; i < rounds; ++i) {
    Job job = alone;
    const long which = step_of(i, rounds, cases) - 1;
    job.fault = {.at = 1 + which % steps, .error = errors[static_cast<std::size_t>(which / steps)]};
    row.add(disturbed(job));
  }
  return row;
}

Row all_calls_fail(int rounds) {
  constexpr std::array errors = {EIO, ENOSPC, ESTALE, EROFS};
  const long steps = steps_of(alone);
  Row row{.fault = fmt::format("all system calls fail from each of {} on, in {} ways", steps, errors.size()),
          .allowed_compiles = 1};
  const long cases = steps * static_cast<long>(errors.size());
  for (int i = 0; i < rounds; ++i) {
    Job job = alone;
    const long which = step_of(i, rounds, cases) - 1;
    job.fault = {.at = 1 + which % steps, .error = errors[static_cast<std::size_t>(which / steps)], .from_then = true};
    row.add(disturbed(job));
  }
  return row;
}

Row killed_at_random_times(int rounds) {
  Row row{.fault = "kill -9 at random times, 3 of 6 processes x 4 threads", .allowed_compiles = 4};
  std::minstd_rand random(1);
  for (int i = 0; i < rounds; ++i) {
    Round round;
    Crowd crowd(round, {.processes = 6, .threads = 4, .keys = 12, .compile_ms = 5});
    crowd.go();
    for (std::size_t worker = 0; worker < 3; ++worker) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 50000));
      crowd.send(worker, SIGKILL);
    }
    crowd.wait();
    row.add(round.result());
  }
  return row;
}

} // namespace sale::faults
