// SPDX-License-Identifier: Apache-2.0
// What `sale tune` and its worker say to each other: JSON, one message a line, between two runs of the same program.
// Whatever a line says, it is either a message or Error(invalid_argument).
#pragma once

#include "autotune/measure/measurer.hpp"
#include "sale/error.hpp"

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

namespace sale::autotune {

/// Bytes of a line at most. Policies may bring matrices for each head.
inline constexpr std::size_t most_request_bytes = std::size_t{64} << 20;
inline constexpr std::size_t most_reply_bytes = std::size_t{4} << 20;

// Requests.
struct AskGpu {};
struct AskFacts {};
struct AskParameters {};
struct AskMeasure {
  Task task;
  std::vector<Tile> tiles;
  int rounds = 0;
};
struct AskCheck {
  Task task;
  Tile tile;
};
struct AskPolicies {
  PolicyCalls calls;
  int rounds = 0;
};
using Request = std::variant<AskGpu, AskFacts, AskParameters, AskMeasure, AskCheck, AskPolicies>;

/// What the Measurer threw.
struct Refusal {
  ErrorKind kind = ErrorKind::launch;
  std::string what;
};

struct Answer {
  std::variant<GpuId, TuningFacts, GpuParameters, Rounds, Measurement, PolicyRounds, Refusal> value;
  bool spent = false; ///< The worker can do nothing more, and ends.
};

/// What a worker says: steps while it works, then an answer.
using Reply = std::variant<Step, Answer>;

/// Without a newline.
std::string line_of(const Request &request);
std::string line_of(const Reply &reply);
Request parse_request(const std::string &line);
Reply parse_reply(const std::string &line);

} // namespace sale::autotune
