// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include <unistd.h>

namespace sale::cli {

namespace {

constexpr const char *erase_line = "\r\x1b[K";

} // namespace

Progress::Progress() : terminal_(isatty(fileno(stderr)) == 1) {}

// Also after an error: the message then stands on a line of its own.
Progress::~Progress() {
  if (bar_shown_) {
    fmt::print(stderr, "{}", erase_line);
  }
}

void Progress::show(const KernelInfo &kernel, int done, int total) {
  const char *how = kernel.from_cache ? "hit" : "compiled";
  if (!terminal_) {
    fmt::print(stderr, "[{}/{}] {:8} {:7.1f} ms  {}\n", done, total, how, kernel.milliseconds, kernel.name);
    return;
  }
  constexpr int width = 30;
  const int filled = total > 0 ? width * done / total : width;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  fmt::print(stderr, "{}[{}{}] {}/{} {:.1f} s  {}", erase_line, std::string(filled, '#'),
             std::string(width - filled, '.'), done, total, seconds, kernel.name.substr(0, 60));
  bar_shown_ = true;
  std::fflush(stderr);
}

} // namespace sale::cli
