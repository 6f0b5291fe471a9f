// SPDX-License-Identifier: Apache-2.0
// Progress of compilation on standard error: a bar on a terminal, one line per kernel elsewhere.
#pragma once

#include "sale/sale.hpp"

#include <chrono>

namespace sale::cli {

class Progress {
public:
  Progress();
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  void show(const KernelInfo &kernel, int done, int total);

private:
  bool terminal_;
  bool bar_shown_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace sale::cli
