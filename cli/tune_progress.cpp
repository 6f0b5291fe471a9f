// SPDX-License-Identifier: Apache-2.0
#include "cli/tune_progress.hpp"

#include "cli/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>

#include <sys/ioctl.h>
#include <unistd.h>

namespace sale::cli {

namespace {

constexpr const char *erase_line = "\r\x1b[K";

std::size_t terminal_width() {
  winsize size{};
  const bool known = ::ioctl(fileno(stderr), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 100;
}

} // namespace

std::string progress_text(const autotune::TuneProgress &progress) {
  std::string text = fmt::format("[{}/{}] {}: ", progress.bucket + 1, progress.buckets, progress.task);
  const autotune::Decision *decided = progress.decided;
  if (decided == nullptr) {
    text += fmt::format("{}, best so far {:.3f} x the default", progress.step, 1 / progress.best_ratio);
  } else if (!decided->left_out.empty()) {
    text += fmt::format("left out: {}", decided->left_out);
  } else if (decided->is_default) {
    text += fmt::format("{:.4g} ms, nothing beats the default", decided->default_ms);
  } else {
    text += fmt::format("{:.4g} ms, {:.3f} x the default", decided->best_ms, 1 / decided->ratio);
  }
  if (progress.from_journal) {
    text += ", from the journal";
  }
  if (progress.seconds_left >= 0 && progress.bucket + 1 < progress.buckets) {
    text += fmt::format(", {} left", duration_text(progress.seconds_left));
  }
  return text;
}

TuneProgressLine::TuneProgressLine() : terminal_(isatty(fileno(stderr)) == 1) {}

TuneProgressLine::~TuneProgressLine() { erase(); }

void TuneProgressLine::erase() {
  if (shown_) {
    fmt::print(stderr, "{}", erase_line);
    shown_ = false;
  }
}

void TuneProgressLine::show(const std::string &text) {
  if (!terminal_) {
    return;
  }
  // The end says most, and a line that wraps could not be erased.
  const std::size_t width = terminal_width() - 1;
  const std::string fitting =
      text.size() <= width ? text : "..." + text.substr(text.size() - std::max(width, std::size_t{4}) + 3);
  fmt::print(stderr, "{}{}", erase_line, fitting);
  std::fflush(stderr);
  shown_ = true;
}

void TuneProgressLine::say(const std::string &text) {
  if (terminal_) {
    show(text);
  } else {
    fmt::print(stderr, "{}\n", text);
  }
}

void TuneProgressLine::show(const autotune::TuneProgress &progress) {
  if (terminal_) {
    show(progress_text(progress));
  } else if (progress.decided != nullptr) {
    fmt::print(stderr, "{}\n", progress_text(progress));
  }
}

} // namespace sale::cli
