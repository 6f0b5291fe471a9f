// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include <unistd.h>

namespace sale::cli {

namespace {

constexpr const char *erase_line = "\r\x1b[K";

} // namespace

void TimeLeft::compiled(double seconds, double elapsed) {
  seconds_.insert(std::upper_bound(seconds_.begin(), seconds_.end(), seconds), seconds);
  sum_ += seconds;
  elapsed_ = elapsed;
}

std::optional<double> TimeLeft::seconds(int kernels_to_come) const {
  if (seconds_.empty()) {
    return std::nullopt;
  }
  const double jobs = std::max(1.0, elapsed_ > 0 ? sum_ / elapsed_ : 1.0);
  return seconds_[seconds_.size() / 2] * kernels_to_come / jobs;
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<long>(std::ceil(std::max(seconds, 0.0)));
  if (whole < 120) {
    return fmt::format("{} s", whole);
  }
  const long minutes = (whole + 59) / 60;
  return minutes < 120 ? fmt::format("{} min", minutes) : fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

Progress::Progress() : terminal_(isatty(fileno(stderr)) == 1) {}

Progress::~Progress() { erase(); }

void Progress::erase() {
  if (bar_shown_) {
    fmt::print(stderr, "{}", erase_line);
    bar_shown_ = false;
  }
}

double Progress::elapsed() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::show(const KernelInfo &kernel, int done, int total) {
  done_ = done;
  if (!kernel.from_cache) {
    time_left_.compiled(kernel.milliseconds / 1000, elapsed());
  }
  const std::optional<double> left = time_left_.seconds(total - done);
  const std::string rest = left && done < total ? fmt::format("  {} left", duration_text(*left)) : "";
  if (!terminal_) {
    const char *how = kernel.from_cache ? "hit" : "compiled";
    fmt::print(stderr, "[{}/{}] {:8} {:7.1f} ms  {}{}\n", done, total, how, kernel.milliseconds, kernel.name, rest);
    return;
  }
  constexpr int width = 30;
  const int filled = total > 0 ? width * done / total : width;
  fmt::print(stderr, "{}[{}{}] {}/{}{}  {}", erase_line, std::string(filled, '#'), std::string(width - filled, '.'),
             done, total, rest, kernel.name.substr(0, 60));
  bar_shown_ = true;
  std::fflush(stderr);
}

} // namespace sale::cli
