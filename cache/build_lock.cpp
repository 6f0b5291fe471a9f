// SPDX-License-Identifier: Apache-2.0
#include "cache/build_lock.hpp"

#include "cache/descriptor.hpp"
#include "cache/trust.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sale {

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr auto heartbeat = std::chrono::milliseconds(500);
constexpr auto shortest_sleep = std::chrono::milliseconds(2);
constexpr auto longest_sleep = std::chrono::milliseconds(50);

// The folder of the lock files; nothing when it is missing or not ours alone.
Descriptor open_folder(const std::filesystem::path &path) {
  Descriptor folder(
      without_interruption([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }));
  struct stat info{};
  const bool ours = folder && ::fstat(folder.get(), &info) == 0 && distrust(info, Keeper::me).empty();
  return ours ? std::move(folder) : Descriptor();
}

// Whether the name still is that of the opened file: its last owner may have removed it.
bool is_named(const Descriptor &folder, const std::string &name, const Descriptor &file) {
  struct stat opened{};
  struct stat named{};
  return ::fstat(file.get(), &opened) == 0 && ::fstatat(folder.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

void remove_if_named(const Descriptor &folder, const std::string &name, const Descriptor &file) {
  if (is_named(folder, name, file)) {
    ::unlinkat(folder.get(), name.c_str(), 0);
  }
}

// One waiter at a time, or the second would remove what the first has made instead. Where folders cannot be locked,
// that can happen, and costs a build.
void take_from(const Descriptor &owner_file, const Descriptor &folder, const std::string &name) {
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) == 0) {
    remove_if_named(folder, name, owner_file);
    ::flock(folder.get(), LOCK_UN);
  } else if (errno != EWOULDBLOCK) {
    remove_if_named(folder, name, owner_file);
  }
}

enum class Outcome { held, busy, replaced, unusable };

struct Attempt {
  Outcome outcome = Outcome::unusable;
  Descriptor file;
};

// Opened anew each time, so that a network file system shows what its server has.
Attempt attempt_on(const Descriptor &folder, const std::string &name) {
  Descriptor file(without_interruption([&] {
    return ::openat(folder.get(), name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
  }));
  struct stat info{};
  if (!file || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || !distrust(info, Keeper::me).empty()) {
    return {};
  }
  if (without_interruption([&] { return ::flock(file.get(), LOCK_EX | LOCK_NB); }) != 0) {
    return {errno == EWOULDBLOCK ? Outcome::busy : Outcome::unusable, std::move(file)};
  }
  return {is_named(folder, name, file) ? Outcome::held : Outcome::replaced, std::move(file)};
}

// What the owner last wrote; any change of it is a heartbeat.
std::string contents(const Descriptor &file) {
  std::array<char, 256> text{};
  const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

// Tells by the waiter's own clock how long an owner has been silent; other machines' clocks may be wrong.
class Listener {
public:
  double silent_seconds(std::string heard) {
    const Clock::time_point now = Clock::now();
    if (!last_ || heard != *last_) {
      last_ = std::move(heard);
      since_ = now;
    }
    return Seconds(now - since_).count();
  }

private:
  std::optional<std::string> last_;
  Clock::time_point since_;
};

std::string host_name() {
  std::array<char, 65> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

} // namespace

/// A lock held: its file tells who has it and is written anew twice a second by a thread of its own.
class BuildLock::Owned {
public:
  Owned(Descriptor folder, std::string name, Descriptor file)
      : folder_(std::move(folder)), name_(std::move(name)), file_(std::move(file)) {
    if (::ftruncate(file_.get(), 0) != 0) {
      return; // Silent, then: others wait less for it.
    }
    beat(0);
    start();
  }

  ~Owned() {
    if (heart_.joinable()) {
      heart_.request_stop();
      heart_.join();
    }
    remove_if_named(folder_, name_, file_);
    // Closing alone would leave it to a child that was forked meanwhile.
    ::flock(file_.get(), LOCK_UN);
  }

  Owned(const Owned &) = delete;
  Owned &operator=(const Owned &) = delete;

private:
  // The host program's signals are none of this thread's business.
  void start() {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      heart_ = std::jthread([this](const std::stop_token &stop) { run(stop); });
    } catch (const std::system_error &) {
      heart_ = {}; // No thread to be had: silent.
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void run(const std::stop_token &stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    for (std::uint32_t beats = 1; !wake.wait_for(lock, stop, heartbeat, [&] { return stop.stop_requested(); });
         ++beats) {
      beat(beats);
    }
  }

  void beat(std::uint32_t beats) const {
    const std::string text =
        fmt::format("{:010} heartbeats of process {} on {}, lock {}\n", beats, ::getpid(), host_, tenure_);
    // A failed write is a silence that others notice.
    [[maybe_unused]] const ssize_t written = ::pwrite(file_.get(), text.data(), text.size(), 0);
  }

  Descriptor folder_;
  std::string name_;
  Descriptor file_;
  std::string host_ = host_name();
  // So that a waiter does not take the next owner in the same process for this one, silent.
  Clock::rep tenure_ = Clock::now().time_since_epoch().count();
  std::jthread heart_;
};

BuildLock::BuildLock() = default;
BuildLock::BuildLock(BuildLock &&) noexcept = default;
BuildLock &BuildLock::operator=(BuildLock &&) noexcept = default;
BuildLock::~BuildLock() = default;

BuildLock BuildLock::acquire(const std::filesystem::path &file, const Limits &limits,
                             const std::function<bool()> &cancelled) {
  BuildLock lock;
  Descriptor folder = open_folder(file.parent_path());
  if (!folder) {
    return lock;
  }
  const std::string name = file.filename().string();
  const Clock::time_point start = Clock::now();
  const auto waited_seconds = [&] { return Seconds(Clock::now() - start).count(); };
  Listener listener;
  Clock::duration sleep = shortest_sleep;
  for (;;) {
    Attempt attempt = attempt_on(folder, name);
    if (attempt.outcome == Outcome::held) {
      lock.owned_ = std::make_unique<Owned>(std::move(folder), name, std::move(attempt.file));
      break;
    }
    if (attempt.outcome == Outcome::unusable || (cancelled && cancelled())) {
      break;
    }
    if (attempt.outcome == Outcome::busy) {
      lock.waited_ = true;
      if (listener.silent_seconds(contents(attempt.file)) > limits.silent_seconds) {
        // The next attempt makes a new file, and whoever else waits then waits for its owner.
        lock.gave_up_ = true;
        take_from(attempt.file, folder, name);
      }
    }
    if (waited_seconds() >= limits.wait_seconds) {
      lock.gave_up_ = lock.waited_;
      break;
    }
    std::this_thread::sleep_for(sleep);
    sleep = std::min<Clock::duration>(sleep * 3 / 2, longest_sleep);
  }
  lock.waited_seconds_ = lock.waited_ ? waited_seconds() : 0;
  return lock;
}

} // namespace sale
