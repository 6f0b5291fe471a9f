// SPDX-License-Identifier: Apache-2.0
// What a row of the fault table counts, and the table in print.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sale::faults {

struct Row {
  std::string fault = {};
  int rounds = 0;
  long calls = 0;
  long lost = 0;  ///< Calls that threw, or whose process ended without being told to.
  long wrong = 0; ///< Kernels that are not what the compiler makes of their source.
  long compiles = 0;
  int most_compiles = 0;                    ///< Of one key in one round.
  std::optional<int> allowed_compiles = {}; ///< Nothing: as many as it takes.
  double longest_ms = 0;
  double allowed_ms = 60000;
  std::string skipped = {}; ///< Why there are no rounds.
  std::string problem = {}; ///< What went wrong first.

  bool good() const;

  /// Adds another's counts: that of a round, or of a part of the rounds.
  void add(const Row &other);

  /// As text and back, to come out of another process.
  std::string serialize() const;
  static Row parse(const std::string &text);
};

void print_head();
void print(const Row &row);

} // namespace sale::faults
