// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/protocol.hpp"

#include "autotune/measure/protocol_fields.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string_view>

namespace sale::autotune {

namespace {

using nlohmann::json;

// Enumerations are numbers, from 0 to these.
constexpr DType last_of(DType /*type*/) { return DType::f16; }
constexpr Estimator last_of(Estimator /*type*/) { return Estimator::fp8; }
constexpr KvType last_of(KvType /*type*/) { return KvType::int8; }
constexpr Stage last_of(Stage /*type*/) { return Stage::merge; }
constexpr EstimateBasis last_of(EstimateBasis /*type*/) { return EstimateBasis::projection; }
constexpr Outcome last_of(Outcome /*type*/) { return Outcome::hung; }
constexpr Work last_of(Work /*type*/) { return Work::oracle; }
constexpr ErrorKind last_of(ErrorKind /*type*/) { return ErrorKind::cancelled; }

template <class T>
constexpr bool is_vector = false;
template <class T>
constexpr bool is_vector<std::vector<T>> = true;

template <class T>
json write(const T &value) {
  if constexpr (std::is_enum_v<T>) {
    return static_cast<int>(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::isfinite(value) ? json(value) : json(fmt::format("{}", value)); // JSON has no infinity
  } else if constexpr (is_vector<T>) {
    json array = json::array();
    for (const auto &item : value) {
      array.push_back(write(item));
    }
    return array;
  } else if constexpr (std::is_constructible_v<json, T>) {
    return value;
  } else {
    json object = json::object();
    protocol::visit_fields(value, [&](const char *name, const auto &field) { object[name] = write(field); });
    return object;
  }
}

template <class T>
T read_float(const json &from) {
  if (!from.is_string()) {
    return from.get<T>();
  }
  const auto text = from.get<std::string>();
  constexpr T infinity = std::numeric_limits<T>::infinity();
  if (text == "inf" || text == "-inf") {
    return text == "inf" ? infinity : -infinity;
  }
  if (text == "nan" || text == "-nan") {
    return std::numeric_limits<T>::quiet_NaN();
  }
  throw std::invalid_argument("no number");
}

template <class T>
T read_integer(const json &from) {
  const auto value = from.get<std::int64_t>();
  if (!from.is_number_integer() || value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max()) {
    throw std::out_of_range("integer");
  }
  return static_cast<T>(value);
}

template <class T>
T read(const json &from) {
  T value{};
  if constexpr (std::is_enum_v<T>) {
    const int number = read_integer<int>(from);
    if (number < 0 || number > static_cast<int>(last_of(T{}))) {
      throw std::out_of_range("enumeration");
    }
    value = static_cast<T>(number);
  } else if constexpr (std::is_floating_point_v<T>) {
    value = read_float<T>(from);
  } else if constexpr (std::is_same_v<T, int>) {
    value = read_integer<int>(from);
  } else if constexpr (is_vector<T>) {
    for (const json &item : from.get_ref<const json::array_t &>()) {
      value.push_back(read<typename T::value_type>(item));
    }
  } else if constexpr (std::is_constructible_v<json, T>) {
    value = from.get<T>();
  } else {
    protocol::visit_fields(value, [&](const char *name, auto &field) {
      field = read<std::remove_reference_t<decltype(field)>>(from.at(name));
    });
  }
  return value;
}

std::string text_of(const json &message) {
  // What a driver or a compiler says need not be UTF-8.
  return message.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Messages by the one name in them that says what they are.
template <class T>
constexpr const char *name_of = nullptr;
template <>
constexpr const char *name_of<AskGpu> = "gpu";
template <>
constexpr const char *name_of<AskFacts> = "facts";
template <>
constexpr const char *name_of<AskParameters> = "parameters";
template <>
constexpr const char *name_of<AskMeasure> = "measure";
template <>
constexpr const char *name_of<AskCheck> = "check";
template <>
constexpr const char *name_of<AskPolicies> = "policies";
template <>
constexpr const char *name_of<GpuId> = "gpu";
template <>
constexpr const char *name_of<TuningFacts> = "facts";
template <>
constexpr const char *name_of<GpuParameters> = "parameters";
template <>
constexpr const char *name_of<Rounds> = "rounds";
template <>
constexpr const char *name_of<Measurement> = "checked";
template <>
constexpr const char *name_of<PolicyRounds> = "policy_rounds";
template <>
constexpr const char *name_of<Refusal> = "refused";
template <>
constexpr const char *name_of<Step> = "begins";

template <class T>
json body_of(const T &message) {
  if constexpr (std::is_empty_v<T>) {
    return nullptr;
  } else {
    return write(message);
  }
}

// The one of a variant's kinds that the message is.
template <class... Kinds>
std::variant<Kinds...> read_one_of(const json &message, const std::variant<Kinds...> & /*type*/) {
  std::optional<std::variant<Kinds...>> found;
  const auto look = [&]<class T>(const T &empty) {
    if (!found && message.contains(name_of<T>)) {
      if constexpr (std::is_empty_v<T>) {
        found = empty;
      } else {
        found = read<T>(message.at(name_of<T>));
      }
    }
  };
  (look(Kinds{}), ...);
  if (!found) {
    throw std::invalid_argument("no known message");
  }
  return *found;
}

template <class Read>
auto parse(const std::string &line, const char *whose, const Read &read_message) {
  constexpr std::size_t shown = 80;
  try {
    return read_message(json::parse(line));
  } catch (const std::exception &) { // json's and ours
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} is no line of the worker's protocol: {:?}", whose,
                            std::string_view(line).substr(0, std::min(line.size(), shown))));
  }
}

} // namespace

std::string line_of(const Request &request) {
  return std::visit([]<class T>(const T &message) { return text_of({{name_of<T>, body_of(message)}}); }, request);
}

std::string line_of(const Reply &reply) {
  if (const auto *step = std::get_if<Step>(&reply)) {
    return text_of({{name_of<Step>, write(*step)}});
  }
  const Answer &answer = std::get<Answer>(reply);
  return std::visit(
      [&]<class T>(const T &value) { return text_of({{name_of<T>, write(value)}, {"spent", answer.spent}}); },
      answer.value);
}

Request parse_request(const std::string &line) {
  return parse(line, "a request", [](const json &message) { return read_one_of(message, Request{}); });
}

Reply parse_reply(const std::string &line) {
  return parse(line, "what the worker said", [](const json &message) -> Reply {
    if (message.contains(name_of<Step>)) {
      return read<Step>(message.at(name_of<Step>));
    }
    return Answer{read_one_of(message, Answer{}.value), message.at("spent").get<bool>()};
  });
}

} // namespace sale::autotune
