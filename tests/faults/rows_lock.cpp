// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/crowd.hpp"
#include "tests/faults/rows.hpp"

#include <chrono>
#include <csignal>
#include <thread>

namespace sale::faults {

namespace {

using std::chrono::milliseconds;

void wait_until_it_compiles(const Round &round) {
  for (int i = 0; i < 10000 && round.compiles_begun() == 0; ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
}

constexpr Job waiters{.processes = 8, .threads = 4, .compile_ms = 20};

} // namespace

Row owner_killed(int rounds) {
  Row row{.fault = "owner of the lock killed while it compiles, 8 processes wait",
          .allowed_compiles = 2,
          .allowed_ms = 10000};
  for (int i = 0; i < rounds; ++i) {
    Round round;
    Crowd owner(round, {.compile_ms = 60000});
    Crowd others(round, waiters);
    owner.go();
    wait_until_it_compiles(round);
    others.go();
    std::this_thread::sleep_for(milliseconds(30));
    owner.send(0, SIGKILL);
    others.wait();
    owner.wait();
    row.add(round.result());
  }
  return row;
}

Row owner_stopped(int rounds) {
  Row row{.fault = "owner of the lock stopped, 8 processes wait; it goes on later",
          .allowed_compiles = 2,
          .allowed_ms = 20000};
  for (int i = 0; i < rounds; ++i) {
    Round round;
    Crowd owner(round, {.compile_ms = 100});
    Crowd others(round, waiters);
    owner.go();
    wait_until_it_compiles(round);
    owner.send(0, SIGSTOP);
    others.go();
    others.wait();
    owner.send(0, SIGCONT);
    owner.wait();
    row.add(round.result());
  }
  return row;
}

} // namespace sale::faults
