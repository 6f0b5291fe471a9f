// SPDX-License-Identifier: Apache-2.0
// An advisory lock between processes, so that one compiles a kernel and the others wait for it. It saves work and
// nothing else: everything is correct when it never works, as on file systems without locks.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

namespace sale {

class BuildLock {
public:
  struct Limits {
    double wait_seconds = 60;  ///< in all
    double silent_seconds = 3; ///< An owner that shows no heartbeat for so long is stopped or hangs: it loses the lock.
  };

  /// Blocks until the lock is held or not worth waiting for; never throws for what is wrong with the disk. The file's
  /// folder must be there and its user's alone. `cancelled` is asked often and ends the wait.
  static BuildLock acquire(const std::filesystem::path &file, const Limits &limits,
                           const std::function<bool()> &cancelled = {});

  BuildLock(BuildLock &&) noexcept;
  BuildLock &operator=(BuildLock &&) noexcept;
  BuildLock(const BuildLock &) = delete;
  BuildLock &operator=(const BuildLock &) = delete;
  ~BuildLock(); ///< Releases.

  /// False: compile all the same. True after a wait: look first whether the work has been done meanwhile.
  bool held() const { return owned_ != nullptr; }
  bool waited() const { return waited_; }            ///< Somebody else had it.
  bool gave_up() const { return gave_up_; }          ///< On an owner that was silent, or on all at the deadline.
  double seconds() const { return waited_seconds_; } ///< How long the wait was.

private:
  class Owned;

  BuildLock();

  std::unique_ptr<Owned> owned_;
  bool waited_ = false;
  bool gave_up_ = false;
  double waited_seconds_ = 0;
};

} // namespace sale
