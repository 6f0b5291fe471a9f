// SPDX-License-Identifier: Apache-2.0
#include "sale/error.hpp"

#include <utility>

namespace sale {

namespace {

std::string with_advice(const std::string &what, const ErrorDetails &details) {
  return details.advice.empty() ? what : what + "; " + details.advice;
}

} // namespace

Error::Error(ErrorKind kind, const std::string &what, ErrorDetails details)
    : std::runtime_error(with_advice(what, details)), kind_(kind), details_(std::move(details)) {}

const char *to_string(ErrorKind kind) {
  switch (kind) {
  case ErrorKind::invalid_argument: return "invalid argument";
  case ErrorKind::not_found: return "not found";
  case ErrorKind::generate: return "generate";
  case ErrorKind::compile: return "compile";
  case ErrorKind::load: return "load";
  case ErrorKind::launch: return "launch";
  case ErrorKind::io: return "input/output";
  case ErrorKind::cache: return "cache";
  case ErrorKind::not_cached: return "not cached";
  case ErrorKind::capturing: return "capturing";
  case ErrorKind::cancelled: return "cancelled";
  }
  return "unknown";
}

} // namespace sale
