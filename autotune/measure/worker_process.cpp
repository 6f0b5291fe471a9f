// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/worker_process.hpp"

#include "autotune/measure/protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace sale::autotune {

namespace {

using namespace std::chrono_literals;

constexpr auto ask_again = 50ms; // whether it is cancelled
constexpr auto time_to_end = 500ms;
constexpr auto time_to_be_killed = 20s; // a driver may hold a process for a while
constexpr std::size_t most_error_bytes = 4096;
constexpr std::size_t piece = std::size_t{64} << 10;

void set_signals(posix_spawnattr_t &attributes) {
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) {
    sigaddset(&signals, signal);
  }
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

int spawn(const std::filesystem::path &program, const std::vector<std::string> &arguments, int talk, int errors,
          pid_t &process) {
  const std::string name = program.string();
  std::vector<const char *> words = {name.c_str()};
  for (const std::string &argument : arguments) {
    words.push_back(argument.c_str());
  }
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, talk, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, talk, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  set_signals(attributes);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): exec's type; it writes nothing
  const int code =
      ::posix_spawn(&process, name.c_str(), &actions, &attributes, const_cast<char **>(words.data()), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return code;
}

int milliseconds_until(WorkerProcess::Clock::time_point deadline) {
  const auto left = std::clamp<WorkerProcess::Clock::duration>(deadline - WorkerProcess::Clock::now(), 0s, ask_again);
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

} // namespace

WorkerProcess::WorkerProcess(const std::filesystem::path &program, const std::vector<std::string> &arguments) {
  std::array<int, 2> talk{-1, -1};
  std::array<int, 2> errors{-1, -1};
  // A socket, for writes to one whose other end is gone raise no signal if asked.
  int code =
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk.data()) != 0 || ::pipe2(errors.data(), O_CLOEXEC) != 0
          ? errno
          : 0;
  if (code == 0) {
    code = spawn(program, arguments, talk[1], errors[1], process_);
  }
  ::close(talk[1]);
  ::close(errors[1]);
  if (code != 0) {
    ::close(talk[0]);
    ::close(errors[0]);
    throw Error(ErrorKind::not_found,
                fmt::format("the worker {} cannot be started: {}", program.string(), std::strerror(code)));
  }
  talk_ = talk[0];
  errors_ = errors[0];
  ::fcntl(errors_, F_SETFL, O_NONBLOCK);
}

WorkerProcess::~WorkerProcess() {
  ::close(talk_);
  if (!wait_for_end(time_to_end)) {
    kill();
  }
  ::close(errors_);
}

void WorkerProcess::send(const std::string &line, Clock::time_point deadline) {
  const std::string whole = line + '\n';
  for (std::size_t done = 0; done < whole.size() && Clock::now() < deadline;) {
    const ssize_t sent = ::send(talk_, whole.data() + done, whole.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      done += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      read_errors(); // so that it is not stuck in what it has to say
      pollfd ready{talk_, POLLOUT, 0};
      ::poll(&ready, 1, milliseconds_until(deadline));
    } else if (errno != EINTR) {
      return;
    }
  }
}

bool WorkerProcess::take_line(std::string &line) {
  const std::size_t end = heard_.find('\n', looked_);
  looked_ = heard_.size();
  if (end == std::string::npos) {
    return false;
  }
  line = heard_.substr(0, end);
  heard_.erase(0, end + 1);
  looked_ = 0;
  return true;
}

void WorkerProcess::read_errors() {
  std::array<char, most_error_bytes> buffer;
  for (;;) {
    const ssize_t got = ::read(errors_, buffer.data(), buffer.size());
    if (got <= 0) {
      errors_ended_ = got == 0;
      return;
    }
    error_text_.append(buffer.data(), static_cast<std::size_t>(got));
    if (error_text_.size() > most_error_bytes) {
      error_text_.erase(0, error_text_.size() - most_error_bytes);
    }
  }
}

WorkerProcess::Heard WorkerProcess::hear(std::string &line, Clock::time_point deadline,
                                         const std::function<bool()> &cancelled) {
  std::vector<char> buffer(piece);
  for (;;) {
    if (take_line(line)) {
      return Heard::line;
    }
    if (heard_.size() > most_reply_bytes) {
      return Heard::too_long;
    }
    if (cancelled && cancelled()) {
      return Heard::cancelled;
    }
    std::array<pollfd, 2> ready = {{{talk_, POLLIN, 0}, {errors_, POLLIN, 0}}};
    // Errors that ended are always ready: then it is asked for what it says alone.
    const int wait = milliseconds_until(deadline);
    ::poll(ready.data(), errors_ended_ ? 1 : 2, wait);
    read_errors();
    const ssize_t got = ::recv(talk_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
      heard_.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      return Heard::end;
    } else if (wait == 0) {
      return Heard::late;
    }
  }
}

bool WorkerProcess::ended() {
  if (!ended_) {
    const pid_t found = ::waitpid(process_, &status_, WNOHANG);
    // One that somebody else waited for has ended, nobody knows how.
    ended_ = found == process_ || (found < 0 && errno != EINTR);
  }
  return ended_;
}

bool WorkerProcess::wait_for_end(Clock::duration most) {
  const Clock::time_point deadline = Clock::now() + most;
  while (!ended()) {
    if (Clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

void WorkerProcess::kill() {
  if (!ended()) {
    ::kill(process_, SIGKILL);
    wait_for_end(time_to_be_killed);
  }
}

std::string WorkerProcess::last_words() {
  if (!wait_for_end(time_to_end)) {
    kill();
  }
  read_errors();
  std::string words = error_text_;
  words.erase(words.find_last_not_of(" \n") + 1);
  const std::string how = WIFSIGNALED(status_)
                              ? fmt::format("signal {} ({})", WTERMSIG(status_), ::strsignal(WTERMSIG(status_)))
                              : fmt::format("exit code {}", WEXITSTATUS(status_));
  return words.empty() ? how : fmt::format("{}: {}", how, words);
}

} // namespace sale::autotune
