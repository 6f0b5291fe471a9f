// SPDX-License-Identifier: Apache-2.0
#include "io/yaml_limits.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <string_view>

namespace sale::io {

namespace {

// Control characters are for values, written as escapes: in a file they steer the terminal of who reads of it.
enum class Controls : bool { refused, allowed };

bool is_allowed(unsigned code, Controls controls) {
  if (code < 0x20 || (code >= 0x80 && code < 0xA0)) {
    return controls == Controls::allowed || code == '\t' || code == '\n' || code == '\r';
  }
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  const bool no_character = (code & 0xFFFEU) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF);
  return !surrogate && !no_character && code <= 0x10FFFF;
}

// Bytes of the UTF-8 character at the front, 0 where there is none that is allowed.
std::size_t character_bytes(std::string_view text, Controls controls) {
  const auto byte_at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte_at(0);
  if (first < 0x80) {
    return is_allowed(first, controls) ? 1 : 0;
  }
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC0 || first >= 0xF8 || text.size() < bytes) {
    return 0;
  }
  unsigned code = first & (0xFFU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte_at(i) & 0xC0U) != 0x80) {
      return 0;
    }
    code = code << 6U | (byte_at(i) & 0x3FU);
  }
  const unsigned least = bytes == 4 ? 0x10000 : bytes == 3 ? 0x800 : 0x80;
  return code >= least && is_allowed(code, controls) ? bytes : 0;
}

// Where text stops being text; its size when it does not.
std::size_t text_end(std::string_view text, Controls controls) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t bytes = character_bytes(text.substr(at), controls);
    if (bytes == 0) {
      break;
    }
    at += bytes;
  }
  return at;
}

// yaml-cpp says what it meets while it parses; an exception from here ends that.
class Limiter : public YAML::EventHandler {
public:
  Limiter(const std::string &file_name, const YamlLimits &limits) : file_name_(file_name), limits_(limits) {}

  void OnDocumentStart(const YAML::Mark & /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark &mark, YAML::anchor_t anchor) override { count(mark, anchor); }
  void OnAlias(const YAML::Mark &mark, YAML::anchor_t /*anchor*/) override { refuse_alias(mark); }
  void OnScalar(const YAML::Mark &mark, const std::string & /*tag*/, YAML::anchor_t anchor,
                const std::string &value) override {
    count(mark, anchor);
    if (value.size() > limits_.scalar) {
      refuse(mark, fmt::format("{} bytes are too many for one value; the most is {}", value.size(), limits_.scalar));
    }
    if (text_end(value, Controls::allowed) != value.size()) {
      refuse(mark, "an escape of this value stands for no character");
    }
  }
  void OnSequenceStart(const YAML::Mark &mark, const std::string & /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    enter(mark, anchor);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark &mark, const std::string & /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    enter(mark, anchor);
  }
  void OnMapEnd() override { --depth_; }

private:
  void enter(const YAML::Mark &mark, YAML::anchor_t anchor) {
    count(mark, anchor);
    if (++depth_ > limits_.depth) {
      refuse(mark,
             fmt::format("this YAML nests more than {} levels deep, which no file of libsale does", limits_.depth));
    }
  }

  void count(const YAML::Mark &mark, YAML::anchor_t anchor) {
    if (anchor != 0) {
      refuse_alias(mark);
    }
    if (++nodes_ > limits_.nodes) {
      refuse(mark, fmt::format("this YAML has more than {} values, which no file of libsale has", limits_.nodes));
    }
  }

  [[noreturn]] void refuse_alias(const YAML::Mark &mark) const {
    refuse(mark, "anchors and aliases (& and *) are not supported; write the value where it is meant");
  }

  [[noreturn]] void refuse(const YAML::Mark &mark, const std::string &sentence) const {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}:{}: {}", file_name_, mark.line + 1, sentence));
  }

  const std::string &file_name_;
  const YamlLimits &limits_;
  std::size_t depth_ = 0;
  std::size_t nodes_ = 0;
};

// yaml-cpp quotes what it stumbles over.
std::string printable(std::string text) {
  std::replace_if(text.begin(), text.end(), [](unsigned char letter) { return letter < ' ' || letter == 0x7F; }, '?');
  return text;
}

} // namespace

void check_yaml(const std::string &text, const std::string &file_name, const YamlLimits &limits) {
  // yaml-cpp takes any bytes, and writes others than it read.
  if (const std::size_t end = text_end(text, Controls::refused); end != text.size()) {
    const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n') + 1;
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}:{}: this is not UTF-8 text without control characters", file_name, line));
  }
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    Limiter limiter(file_name, limits);
    parser.HandleNextDocument(limiter);
  } catch (const YAML::Exception &error) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}:{}: this is not valid YAML ({})", file_name,
                                                         std::max(error.mark.line, 0) + 1, printable(error.msg)));
  }
}

} // namespace sale::io
