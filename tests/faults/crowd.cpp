// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/crowd.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sale::faults {

namespace {

struct Pipe {
  int read_end = -1;
  int write_end = -1;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe to be had");
  }
  return {ends[0], ends[1]};
}

std::string read_line(int file) {
  std::string line;
  char byte = 0;
  while (::read(file, &byte, 1) == 1 && byte != '\n') {
    line += byte;
  }
  return line;
}

// Our environment without what would lead to another cache, and with what the fake compiler reads.
std::vector<std::string> environment(const Round &round, const Job &job) {
  std::vector<std::string> all;
  for (char **variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (text.rfind("SALE_", 0) != 0 && text.rfind("XDG_", 0) != 0) {
      all.push_back(text);
    }
  }
  all.push_back(fmt::format("FAKE_NVRTC_MS={}", job.compile_ms));
  all.push_back(fmt::format("FAKE_NVRTC_DIGITS={}", job.digits));
  all.push_back(fmt::format("FAKE_NVRTC_LOG={}", round.compile_log().string()));
  return all;
}

std::vector<char *> pointers(std::vector<std::string> &texts) {
  std::vector<char *> all;
  for (std::string &text : texts) {
    all.push_back(text.data());
  }
  all.push_back(nullptr);
  return all;
}

// A worker's last line; what it lacks was lost.
struct Report {
  long calls = 0, lost = 0, wrong = 0, warnings = 0;
  double longest_ms = 0;
  long system_calls = 0;
  std::string problem;
};

std::optional<Report> parse_report(const std::string &line) {
  Report report;
  std::istringstream in(line);
  if (!(in >> report.calls >> report.lost >> report.wrong >> report.warnings >> report.longest_ms >>
        report.system_calls)) {
    return std::nullopt;
  }
  in.ignore();
  std::getline(in, report.problem);
  return report;
}

} // namespace

Round::Round() { row_.rounds = 1; }

int Round::compiles_begun() const {
  std::ifstream in(compile_log());
  return static_cast<int>(std::count(std::istreambuf_iterator<char>(in), {}, '\n'));
}

void Round::forget_compiles() const { std::filesystem::remove(compile_log()); }

void Round::run(const Job &job) {
  Crowd crowd(*this, job);
  crowd.go();
  crowd.wait();
}

Row Round::result() const {
  Row row = row_;
  std::map<std::string, int> by_key;
  std::ifstream in(compile_log());
  for (std::string key, process; in >> key >> process;) {
    row.most_compiles = std::max(row.most_compiles, ++by_key[key]);
    ++row.compiles;
  }
  return row;
}

Crowd::Crowd(Round &round, const Job &job) : round_(round), job_(job) {
  const Pipe gate = make_pipe();
  gate_ = gate.write_end;
  for (int i = 0; i < job.processes; ++i) {
    members_.push_back(start(i == 0, gate.read_end));
  }
  ::close(gate.read_end);
  for (const Member &member : members_) {
    read_line(member.output);
  }
}

Crowd::~Crowd() {
  go();
  for (const Member &member : members_) {
    ::kill(member.process, SIGKILL);
    ::waitpid(member.process, nullptr, 0);
    ::close(member.output);
  }
}

Crowd::Member Crowd::start(bool first, int input) const {
  const Pipe output = make_pipe();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output.write_end, STDOUT_FILENO);
  std::vector<std::string> arguments = {FAULTS_WORKER,
                                        fmt::format("cache={}", round_.cache().string()),
                                        fmt::format("nvrtc={}", FAKE_NVRTC),
                                        fmt::format("threads={}", job_.threads),
                                        fmt::format("keys={}", job_.keys),
                                        fmt::format("repeat={}", job_.repeat),
                                        fmt::format("max_files={}", job_.max_files),
                                        fmt::format("factories={}", job_.factories),
                                        fmt::format("fault_at={}", first ? job_.fault.at : 0),
                                        fmt::format("fault_error={}", job_.fault.error),
                                        fmt::format("fault_from_then={}", job_.fault.from_then ? 1 : 0),
                                        fmt::format("plant={}", job_.plant ? 1 : 0)};
  std::vector<std::string> variables = environment(round_, job_);
  Member member{.output = output.read_end, .may_die = first && job_.fault.at != 0 && job_.fault.error == 0};
  const int error = ::posix_spawn(&member.process, FAULTS_WORKER, &actions, nullptr, pointers(arguments).data(),
                                  pointers(variables).data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(output.write_end);
  if (error != 0) {
    throw std::runtime_error("no worker could be started");
  }
  return member;
}

void Crowd::go() {
  if (gate_ >= 0) {
    ::close(gate_);
    gate_ = -1;
  }
}

void Crowd::send(std::size_t worker, int signal) {
  members_.at(worker).may_die = members_.at(worker).may_die || signal == SIGKILL;
  ::kill(members_.at(worker).process, signal);
}

bool Crowd::running() const {
  return std::any_of(members_.begin(), members_.end(), [](const Member &member) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(member.process), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  });
}

long Crowd::wait() {
  long most_system_calls = 0;
  Row &row = round_.row_;
  for (const Member &member : members_) {
    const std::optional<Report> report = parse_report(read_line(member.output));
    ::close(member.output);
    int status = 0;
    ::waitpid(member.process, &status, 0);
    if (report) {
      row.calls += report->calls;
      row.lost += report->lost;
      row.wrong += report->wrong;
      row.longest_ms = std::max(row.longest_ms, report->longest_ms);
      most_system_calls = std::max(most_system_calls, report->system_calls);
      if (row.problem.empty()) {
        row.problem = report->problem;
      }
    } else if (!member.may_die && !job_.plant) {
      row.lost += static_cast<long>(job_.threads) * job_.keys * job_.repeat;
      row.problem = fmt::format("a worker ended with status {:#x}", status);
    }
  }
  members_.clear();
  return most_system_calls;
}

} // namespace sale::faults
