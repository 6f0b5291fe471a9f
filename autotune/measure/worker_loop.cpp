// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/worker_loop.hpp"

#include "autotune/measure/protocol.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace sale::autotune {

namespace {

class Lines {
public:
  explicit Lines(int input) : input_(input) {}

  std::optional<std::string> next() {
    std::array<char, std::size_t{1} << 14> buffer;
    for (std::size_t looked = 0;;) {
      const std::size_t end = text_.find('\n', looked);
      if (end != std::string::npos) {
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      if (text_.size() > most_request_bytes) {
        throw Error(ErrorKind::invalid_argument, "a request is longer than any can be");
      }
      looked = text_.size();
      const ssize_t got = ::read(input_, buffer.data(), buffer.size());
      if (got > 0) {
        text_.append(buffer.data(), static_cast<std::size_t>(got));
      } else if (got == 0 || errno != EINTR) {
        return std::nullopt;
      }
    }
  }

private:
  int input_;
  std::string text_;
};

void write_line(int output, std::string line) {
  line += '\n';
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(output, line.data() + done, line.size() - done);
    if (written > 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno != EINTR) {
      throw Error(ErrorKind::io, "nobody reads what the worker measures");
    }
  }
}

decltype(Answer::value) answer_to(const Request &request, Measurer &measurer) {
  struct Ask {
    Measurer &measurer;
    decltype(Answer::value) operator()(const AskGpu & /*ask*/) const { return measurer.gpu(); }
    decltype(Answer::value) operator()(const AskFacts & /*ask*/) const { return measurer.facts(); }
    decltype(Answer::value) operator()(const AskParameters & /*ask*/) const { return measurer.parameters(); }
    decltype(Answer::value) operator()(const AskMeasure &ask) const {
      return measurer.measure(ask.task, ask.tiles, ask.rounds);
    }
    decltype(Answer::value) operator()(const AskCheck &ask) const { return measurer.check(ask.task, ask.tile); }
    decltype(Answer::value) operator()(const AskPolicies &ask) const {
      return measurer.time_policies(ask.calls, ask.rounds);
    }
  };
  try {
    return std::visit(Ask{measurer}, request);
  } catch (const Error &error) {
    return Refusal{error.kind(), error.what()};
  } catch (const std::exception &error) { // memory of the host
    return Refusal{ErrorKind::load, error.what()};
  }
}

} // namespace

void serve(int input, int output, Measurer &measurer, const std::function<bool()> &spent) {
  measurer.listen([&](const Step &step) { write_line(output, line_of(step)); });
  Lines lines(input);
  while (const auto line = lines.next()) {
    Answer answer{answer_to(parse_request(*line), measurer), false};
    answer.spent = spent && spent();
    write_line(output, line_of(answer));
    if (answer.spent) {
      break;
    }
  }
  measurer.listen({});
}

void end_with_parent() {
  // A parent that ended before this has closed our input.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int take_standard_output() {
  const int output = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (output < 0 || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
    throw Error(ErrorKind::io, std::string("standard output cannot be used: ") + std::strerror(errno));
  }
  return output;
}

} // namespace sale::autotune
