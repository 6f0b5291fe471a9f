// SPDX-License-Identifier: Apache-2.0
// Progress of `sale tune` on standard error: one line that changes on a terminal, a line per finished bucket elsewhere.
#pragma once

#include "autotune/search/tuner.hpp"

#include <string>

namespace sale::cli {

class TuneProgressLine {
public:
  TuneProgressLine();
  ~TuneProgressLine();
  TuneProgressLine(const TuneProgressLine &) = delete;
  TuneProgressLine &operator=(const TuneProgressLine &) = delete;

  /// What goes on before buckets; on a terminal only.
  void show(const std::string &text);
  /// The same elsewhere too.
  void say(const std::string &text);
  void show(const autotune::TuneProgress &progress);
  /// Takes the line away, so that what is printed next stands on a line of its own; as when it is destroyed.
  void erase();

private:
  bool terminal_;
  bool shown_ = false;
};

/// "[3/40] attend ... 32768 tokens: 1.03 x the default, 2 min left".
std::string progress_text(const autotune::TuneProgress &progress);

} // namespace sale::cli
