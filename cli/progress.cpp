// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include <unistd.h>

namespace sale::cli {

Progress::Progress() : terminal_(isatty(fileno(stderr)) == 1) {}

void Progress::show(const KernelInfo &kernel, int done, int total) {
  const char *how = kernel.from_cache ? "hit" : "compiled";
  if (!terminal_) {
    fmt::print(stderr, "[{}/{}] {:8} {:7.1f} ms  {}\n", done, total, how, kernel.milliseconds, kernel.name);
    return;
  }
  constexpr int width = 30;
  const int filled = total > 0 ? width * done / total : width;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  // \r and "erase to the end of the line" redraw in place.
  fmt::print(stderr, "\r[{}{}] {}/{} {:.1f} s  {}\x1b[K", std::string(filled, '#'), std::string(width - filled, '.'),
             done, total, seconds, kernel.name.substr(0, 60));
  if (done == total) {
    fmt::print(stderr, "\r\x1b[K");
  }
  std::fflush(stderr);
}

} // namespace sale::cli
