// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/crowd.hpp"
#include "tests/faults/rows.hpp"

#include <fmt/format.h>

#include <fstream>
#include <functional>
#include <iterator>

#include <unistd.h>

namespace sale::faults {

namespace {

namespace fs = std::filesystem;

// Where nothing can be kept, each factory compiles for itself.
constexpr Job job{.processes = 4, .threads = 4, .keys = 6, .compile_ms = 2, .factories = 1};
constexpr uid_t somebody_else = 54321;

// Each round finds wrong kernels in the cache, which `attack` then gives away.
Row attacked(Row row, int rounds, const std::function<void(const Round &)> &attack) {
  for (int i = 0; i < rounds; ++i) {
    Round round;
    round.run({.keys = job.keys, .compile_ms = 1, .plant = true});
    round.forget_compiles();
    attack(round);
    round.run(job);
    row.add(round.result());
  }
  return row;
}

bool give_away(const fs::path &path) { return ::lchown(path.c_str(), somebody_else, somebody_else) == 0; }

// Only root can make what belongs to others.
bool can_give_away(Row &row) {
  if (::geteuid() != 0) {
    row.skipped = "needs root, to make files of somebody else";
  }
  return row.skipped.empty();
}

} // namespace

Row foreign_folder(int rounds) {
  Row row{.fault = "folder of somebody else with wrong kernels", .allowed_compiles = job.processes};
  return can_give_away(row) ? attacked(row, rounds,
                                       [](const Round &round) {
                                         give_away(round.kernels());
                                         give_away(round.cache());
                                       })
                            : row;
}

Row foreign_files(int rounds) {
  Row row{.fault = "wrong kernels of somebody else in the own folder", .allowed_compiles = job.processes};
  return can_give_away(row) ? attacked(row, rounds,
                                       [](const Round &round) {
                                         for (const auto &file : fs::directory_iterator(round.kernels())) {
                                           give_away(file.path());
                                         }
                                       })
                            : row;
}

Row linked_folder(int rounds) {
  return attacked({.fault = "kernels folder a link to wrong kernels", .allowed_compiles = job.processes}, rounds,
                  [](const Round &round) {
                    fs::rename(round.kernels(), round.folder() / "elsewhere");
                    fs::create_directory_symlink(round.folder() / "elsewhere", round.kernels());
                  });
}

Row linked_files(int rounds) {
  return attacked({.fault = "files links to wrong kernels", .allowed_compiles = job.processes}, rounds,
                  [](const Round &round) {
                    fs::create_directory(round.folder() / "elsewhere");
                    for (const auto &file : fs::directory_iterator(round.kernels())) {
                      const fs::path away = round.folder() / "elsewhere" / file.path().filename();
                      fs::rename(file.path(), away);
                      fs::create_symlink(away, file.path());
                    }
                  });
}

// What a lock file's name leads to must not be written.
Row linked_locks(int rounds) {
  Row row{.fault = "lock files links to a precious file", .allowed_compiles = job.processes};
  for (int i = 0; i < rounds; ++i) {
    Round round;
    round.run({.keys = job.keys, .compile_ms = 1});
    const fs::path precious = round.folder() / "precious";
    std::ofstream(precious) << "untouched";
    fs::create_directories(round.cache() / "locks");
    for (const auto &file : fs::directory_iterator(round.kernels())) {
      const std::string lock = file.path().stem().string() + ".lock";
      std::error_code ignored;
      fs::remove(round.cache() / "locks" / lock, ignored);
      fs::create_symlink(precious, round.cache() / "locks" / lock);
    }
    fs::remove_all(round.kernels());
    round.forget_compiles();
    round.run(job);
    std::string text;
    std::ifstream(precious) >> text;
    Row result = round.result();
    if (text != "untouched") {
      result.problem = "a lock wrote into the file that its name links to";
    }
    row.add(result);
  }
  return row;
}

} // namespace sale::faults
