// SPDX-License-Identifier: Apache-2.0
#include "io/yaml_limits.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>

namespace sale::io {

namespace {

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
