// SPDX-License-Identifier: Apache-2.0
// Journal: decisions as they are made, one line each, so that a run that was killed goes on where it was.
#pragma once

#include "autotune/search/decide.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sale::autotune {

/// A decision without its task, which `name` tells.
struct JournalLine {
  std::string name; ///< TuneBucket's task, described.
  Decision decision;
};

class Journal {
public:
  /// Begins the file anew, or with `resume` goes on in it; `asked` is a line that says all that decisions depend on. To
  /// go on in one that was asked something else, or in none, throws Error(invalid_argument).
  Journal(std::filesystem::path file, const std::string &asked, bool resume);
  ~Journal();
  Journal(const Journal &) = delete;
  Journal &operator=(const Journal &) = delete;

  /// Of the runs before. Lines that are cut off or damaged, and all after them, are not there, and are written anew.
  const std::vector<JournalLine> &lines() const { return lines_; }

  /// On the disk when it returns. Throws Error(io).
  void add(const std::string &name, const Decision &decision);

private:
  void append(const std::string &line) const;

  std::filesystem::path file_;
  std::vector<JournalLine> lines_;
  int descriptor_ = -1;
};

} // namespace sale::autotune
