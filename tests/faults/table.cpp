// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace sale::faults {

bool Row::good() const {
  return lost == 0 && wrong == 0 && problem.empty() && (!allowed_compiles || most_compiles <= *allowed_compiles) &&
         longest_ms <= allowed_ms && (rounds > 0 || !skipped.empty());
}

void Row::add(const Row &other) {
  rounds += other.rounds;
  calls += other.calls;
  lost += other.lost;
  wrong += other.wrong;
  compiles += other.compiles;
  most_compiles = std::max(most_compiles, other.most_compiles);
  longest_ms = std::max(longest_ms, other.longest_ms);
  if (skipped.empty()) {
    skipped = other.skipped;
  }
  if (problem.empty()) {
    problem = other.problem;
  }
}

std::string Row::serialize() const {
  return fmt::format("{} {} {} {} {} {} {}\n{}\n{}\n", rounds, calls, lost, wrong, compiles, most_compiles, longest_ms,
                     skipped, problem);
}

Row Row::parse(const std::string &text) {
  Row row;
  std::istringstream in(text);
  if (!(in >> row.rounds >> row.calls >> row.lost >> row.wrong >> row.compiles >> row.most_compiles >>
        row.longest_ms)) {
    row.problem = "the row's process ended early";
    return row;
  }
  in.ignore();
  std::getline(in, row.skipped);
  std::getline(in, row.problem);
  return row;
}

void print_head() {
  fmt::print("{:<64} {:>6} {:>8} {:>5} {:>6} {:>9} {:>8} {:>8} {:>10}\n", "fault", "rounds", "calls", "lost", "wrong",
             "compiles", "most/key", "allowed", "longest ms");
}

void print(const Row &row) {
  if (!row.skipped.empty()) {
    fmt::print("{:<64} skipped: {}\n", row.fault, row.skipped);
  } else {
    fmt::print("{:<64} {:>6} {:>8} {:>5} {:>6} {:>9} {:>8} {:>8} {:>10.0f}{}\n", row.fault, row.rounds, row.calls,
               row.lost, row.wrong, row.compiles, row.most_compiles,
               row.allowed_compiles ? std::to_string(*row.allowed_compiles) : "any", row.longest_ms,
               row.good() ? "" : "  FAILED");
  }
  if (!row.problem.empty()) {
    fmt::print("  {}\n", row.problem);
  }
  std::fflush(stdout);
}

} // namespace sale::faults
