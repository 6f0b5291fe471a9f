// SPDX-License-Identifier: Apache-2.0
// A program that is spoken to in lines over its standard input and output. It has a process group of its own: Ctrl-C at
// the terminal is for us alone.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace sale::autotune {

class WorkerProcess {
public:
  using Clock = std::chrono::steady_clock;

  enum class Heard { line, end, late, cancelled, too_long };

  /// Throws Error(not_found) when it cannot be started.
  WorkerProcess(const std::filesystem::path &program, const std::vector<std::string> &arguments);
  /// Its input ends, which asks it to end; kills what does not within half a second.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess &) = delete;
  WorkerProcess &operator=(const WorkerProcess &) = delete;

  /// Sends a line; what it answers is then heard. A worker that is gone or does not read is for hear() to find.
  void send(const std::string &line, Clock::time_point deadline);
  /// Waits for a line. `cancelled` is asked often, and may be empty.
  Heard hear(std::string &line, Clock::time_point deadline, const std::function<bool()> &cancelled);

  /// Kills it at once.
  void kill();
  /// Waits a moment for the end of one that has closed its output, and says how it ended: "signal 6", "exit code 1",
  /// with the end of what it wrote to standard error.
  std::string last_words();

  pid_t id() const { return process_; }

private:
  bool take_line(std::string &line);
  void read_errors();
  bool ended();
  bool wait_for_end(Clock::duration most);

  pid_t process_ = -1;
  int talk_ = -1;   ///< Our end of its standard input and output.
  int errors_ = -1; ///< Our end of its standard error.
  bool errors_ended_ = false;
  bool ended_ = false;
  int status_ = 0;         ///< As waitpid gives it.
  std::string heard_;      ///< Bytes that have come, of no whole line yet or of more than one.
  std::size_t looked_ = 0; ///< How many of them have no newline.
  std::string error_text_; ///< The end of it.
};

} // namespace sale::autotune
