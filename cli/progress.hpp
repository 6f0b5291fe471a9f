// SPDX-License-Identifier: Apache-2.0
// Progress of compilation on standard error: a bar on a terminal, one line per kernel elsewhere; and how long the rest
// will take.
#pragma once

#include "sale/sale.hpp"

#include <chrono>
#include <optional>
#include <vector>

namespace sale::cli {

/// Guesses from the kernels compiled so far; those that were in the cache tell nothing.
class TimeLeft {
public:
  /// A kernel that took so long, `elapsed` seconds after the start.
  void compiled(double seconds, double elapsed);
  /// The median of one compile for each kernel to come, shared by as many jobs as were at work so far; nothing before
  /// the first compile.
  std::optional<double> seconds(int kernels_to_come) const;

private:
  std::vector<double> seconds_; ///< ascending
  double sum_ = 0;
  double elapsed_ = 0;
};

/// "40 s", "3 min", "2 h 5 min".
std::string duration_text(double seconds);

class Progress {
public:
  Progress();
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  void show(const KernelInfo &kernel, int done, int total);
  /// Takes the bar away, so that what is printed next stands on a line of its own; as when it is destroyed.
  void erase();

  int done() const { return done_; }
  double elapsed() const;

private:
  bool terminal_;
  bool bar_shown_ = false;
  int done_ = 0;
  TimeLeft time_left_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace sale::cli
