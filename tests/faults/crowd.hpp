// SPDX-License-Identifier: Apache-2.0
// Workers of one round: started together, disturbed, and asked how it went.
#pragma once

#include "tests/faults/system_calls.hpp"
#include "tests/faults/table.hpp"
#include "tests/support/temporary_folder.hpp"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace sale::faults {

/// What every worker of a crowd does.
struct Job {
  int processes = 1;
  int threads = 1;
  int keys = 1;
  int repeat = 1;       ///< Each time with nothing in memory.
  int compile_ms = 20;  ///< What the fake compiler takes
  int digits = 20000;   ///< and makes.
  int max_files = 0;    ///< Of the cache; 0 = no limit.
  int factories = 2;    ///< In one process, as of Engines for several devices.
  CallFault fault = {}; ///< Of the first worker.
  bool plant = false;   ///< Put wrong kernels into the cache instead.
};

/// One round: an empty cache, and what has been counted so far.
class Round {
public:
  Round();

  std::filesystem::path cache() const { return folder_.path() / "cache"; }
  std::filesystem::path kernels() const { return cache() / "kernels"; }
  const std::filesystem::path &folder() const { return folder_.path(); }
  std::filesystem::path compile_log() const { return folder_.path() / "compiles"; }

  int compiles_begun() const;
  /// Later compiles are counted anew.
  void forget_compiles() const;

  /// A crowd that runs to its end undisturbed.
  void run(const Job &job);

  /// The counts, compiles included. Once, at the end.
  Row result() const;

private:
  friend class Crowd;
  TemporaryFolder folder_;
  Row row_;
};

class Crowd {
public:
  /// Starts them all; each gets ready and waits.
  Crowd(Round &round, const Job &job);
  ~Crowd();
  Crowd(const Crowd &) = delete;
  Crowd &operator=(const Crowd &) = delete;

  void go();
  /// A worker that is sent SIGKILL is not missed.
  void send(std::size_t worker, int signal);
  bool running() const;
  /// Waits for all and adds what they say to the round; returns the most system calls that one counted.
  long wait();

private:
  struct Member {
    pid_t process = 0;
    int output = -1;
    bool may_die = false;
  };
  Member start(bool first, int input) const;

  Round &round_;
  Job job_;
  std::vector<Member> members_;
  int gate_ = -1;
};

} // namespace sale::faults
