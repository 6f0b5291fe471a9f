// SPDX-License-Identifier: Apache-2.0
// A run of the program `sale` beside the host. It reads a pipe that ends with the host.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace sale::autotune {

/// `named`, else SALE_PROGRAM, else the first `sale` on PATH. Throws Error(not_found).
std::filesystem::path find_sale_program(const std::filesystem::path &named);

class TuneProcess {
public:
  /// words[0] is the program. Throws Error(not_found) when it cannot be started.
  TuneProcess(const std::vector<std::string> &words, int niceness);
  /// Ends it: asks, waits for two seconds, and kills.
  ~TuneProcess();
  TuneProcess(const TuneProcess &) = delete;
  TuneProcess &operator=(const TuneProcess &) = delete;

  /// Looks, and never waits.
  bool ended();
  /// Of one that has ended.
  bool succeeded() const { return status_ == 0; }
  /// The end of what it wrote to standard error, and how it ended.
  std::string last_words() const;

private:
  pid_t process_ = -1;
  int input_ = -1;  ///< Our end of its standard input.
  int errors_ = -1; ///< A file without a name.
  int status_ = -1; ///< As waitpid gives it.
};

} // namespace sale::autotune
