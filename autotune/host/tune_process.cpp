// SPDX-License-Identifier: Apache-2.0
#include "autotune/host/tune_process.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace sale::autotune {

namespace {

constexpr std::chrono::milliseconds time_to_stop{2000};
constexpr std::chrono::milliseconds look_again{10};
constexpr off_t most_words = 2048;

bool is_program(const std::filesystem::path &file) {
  std::error_code none;
  return std::filesystem::is_regular_file(file, none) && ::access(file.c_str(), X_OK) == 0;
}

[[noreturn]] void no_program(const std::string &what) {
  throw Error(ErrorKind::not_found, what, {.advice = "name the program in SALE_PROGRAM, or put it on PATH"});
}

} // namespace

std::filesystem::path find_sale_program(const std::filesystem::path &named) {
  const char *variable = std::getenv("SALE_PROGRAM");
  std::filesystem::path wanted = named;
  if (wanted.empty() && variable != nullptr) {
    wanted = variable;
  }
  if (!wanted.empty()) {
    if (!is_program(wanted)) {
      no_program(fmt::format("{} is no program", wanted.string()));
    }
    return wanted;
  }
  const char *path = std::getenv("PATH");
  const std::string folders = path == nullptr ? "" : path;
  for (std::size_t begin = 0; begin < folders.size();) {
    const std::size_t end = std::min(folders.find(':', begin), folders.size());
    const std::filesystem::path file = std::filesystem::path(folders.substr(begin, end - begin)) / "sale";
    if (file.is_absolute() && is_program(file)) {
      return file;
    }
    begin = end + 1;
  }
  no_program("there is no program `sale` on PATH");
}

TuneProcess::TuneProcess(const std::vector<std::string> &words, int niceness) {
  std::array<int, 2> input{-1, -1};
  errors_ = ::memfd_create("sale-tune", MFD_CLOEXEC);
  if (errors_ < 0 || ::pipe2(input.data(), O_CLOEXEC) != 0) {
    const int code = errno;
    ::close(errors_);
    throw Error(ErrorKind::not_found, fmt::format("no process can be started: {}", std::strerror(code)));
  }
  input_ = input[1];
  std::vector<char *> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string &word : words) {
    arguments.push_back(const_cast<char *>(word.c_str())); // NOLINT(cppcoreguidelines-pro-type-const-cast): exec's type
  }
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, errors_, STDERR_FILENO);
  const int code = ::posix_spawn(&process_, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(input[0]);
  if (code != 0) {
    ::close(input_);
    ::close(errors_);
    no_program(fmt::format("{} cannot be started: {}", words[0], std::strerror(code)));
  }
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(process_), niceness);
}

TuneProcess::~TuneProcess() {
  ::close(input_); // which asks it to stop
  const auto end = std::chrono::steady_clock::now() + time_to_stop;
  while (!ended()) {
    if (std::chrono::steady_clock::now() > end) {
      ::kill(process_, SIGKILL);
    }
    std::this_thread::sleep_for(look_again);
  }
  ::close(errors_);
}

bool TuneProcess::ended() {
  if (process_ < 0) {
    return true;
  }
  const pid_t found = ::waitpid(process_, &status_, WNOHANG);
  if (found == 0 || (found < 0 && errno == EINTR)) {
    return false;
  }
  if (found < 0) {
    status_ = 0; // a host that ignores SIGCHLD: how it ended is not known, and the record will tell
  }
  process_ = -1;
  return true;
}

std::string TuneProcess::last_words() const {
  const off_t size = ::lseek(errors_, 0, SEEK_END);
  std::string words(static_cast<std::size_t>(std::min(size, most_words)), '\0');
  const ssize_t got = ::pread(errors_, words.data(), words.size(), size - static_cast<off_t>(words.size()));
  words.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  while (!words.empty() && words.back() == '\n') {
    words.pop_back();
  }
  const std::string how = WIFSIGNALED(status_) ? fmt::format("signal {}", WTERMSIG(status_))
                                               : fmt::format("exit code {}", WEXITSTATUS(status_));
  return words.empty() ? fmt::format("sale tune ended with {}", how)
                       : fmt::format("sale tune ended with {}: {}", how, words);
}

} // namespace sale::autotune
