// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/crowd.hpp"
#include "tests/faults/rows.hpp"

#include <fstream>

namespace sale::faults {

namespace {

constexpr Job race{.processes = 32, .threads = 16, .keys = 6, .compile_ms = 50};

} // namespace

Row race_cold(int rounds) {
  Row row{.fault = "32 processes x 16 threads race, cold", .allowed_compiles = 1};
  for (int i = 0; i < rounds; ++i) {
    Round round;
    round.run(race);
    row.add(round.result());
  }
  return row;
}

Row race_warm(int rounds) {
  Row row{.fault = "32 processes x 16 threads race, warm", .allowed_compiles = 0};
  for (int i = 0; i < rounds; ++i) {
    Round round;
    round.run({.keys = race.keys, .compile_ms = 1});
    round.forget_compiles();
    round.run(race);
    row.add(round.result());
  }
  return row;
}

Row race_without_locks(int rounds) {
  Row row{.fault = "32 processes x 16 threads race, cold, a file for a locks folder",
          .allowed_compiles = race.processes};
  for (int i = 0; i < rounds; ++i) {
    Round round;
    round.run({.compile_ms = 1}); // makes the folder
    std::filesystem::remove_all(round.cache() / "locks");
    std::filesystem::remove_all(round.kernels());
    std::ofstream(round.cache() / "locks") << "in the way";
    round.forget_compiles();
    round.run(race);
    row.add(round.result());
  }
  return row;
}

Row race_with_eviction(int rounds) {
  Row row{.fault = "32 processes x 16 threads race for 12 kernels, room for 5"};
  Job job = race;
  job.keys = 12;
  job.repeat = 2;
  job.compile_ms = 2;
  job.max_files = 5;
  for (int i = 0; i < rounds; ++i) {
    Round round;
    round.run(job);
    row.add(round.result());
  }
  return row;
}

} // namespace sale::faults
