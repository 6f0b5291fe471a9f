// SPDX-License-Identifier: Apache-2.0
#include "io/yaml.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

namespace sale::io {

std::string read_text_file(const std::filesystem::path &path) {
  constexpr std::uintmax_t most = 64U << 20U;
  std::error_code code;
  if (!std::filesystem::exists(path, code)) {
    throw Error(ErrorKind::io, fmt::format("{}: there is no such file", path.string()));
  }
  if (!std::filesystem::is_regular_file(path, code) || std::filesystem::file_size(path, code) > most) {
    throw Error(ErrorKind::io, fmt::format("{}: this is not a regular file of at most 64 MiB", path.string()));
  }
  const std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) {
    throw Error(ErrorKind::io, fmt::format("{}: the file cannot be read; check its permissions", path.string()));
  }
  return text.str();
}

YamlNode YamlNode::load(const std::filesystem::path &path) { return parse(read_text_file(path), path.string()); }

YamlNode YamlNode::parse(const std::string &text, const std::string &file_name, const YamlLimits &limits) {
  check_yaml(text, file_name, limits);
  return {YAML::Load(text), std::make_shared<const std::string>(file_name)};
}

// An empty document has no line.
int YamlNode::line() const { return std::max(node_.Mark().line, 0) + 1; }

void YamlNode::refuse(const std::string &sentence) const {
  throw Error(ErrorKind::invalid_argument, fmt::format("{}:{}: {}", *file_name_, line(), sentence));
}

void YamlNode::require_map(const std::vector<std::string_view> &known_keys) const {
  if (!node_.IsMap()) {
    refuse(fmt::format("expected a map with the keys {}", fmt::join(known_keys, ", ")));
  }
  std::set<std::string> seen;
  for (const auto &entry : node_) {
    const YamlNode key_node(entry.first, file_name_);
    const std::string key = key_node.text("a key");
    if (std::find(known_keys.begin(), known_keys.end(), key) == known_keys.end()) {
      key_node.refuse(fmt::format("unknown key {:?}; known are {}", key, fmt::join(known_keys, ", ")));
    }
    if (!seen.insert(key).second) {
      key_node.refuse(fmt::format("{:?} is given twice", key));
    }
  }
}

std::vector<std::string> YamlNode::keys(const std::string &what) const {
  if (!node_.IsMap()) {
    refuse(fmt::format("{} must be a map", what));
  }
  std::vector<std::string> keys;
  std::set<std::string> seen;
  for (const auto &entry : node_) {
    const YamlNode key_node(entry.first, file_name_);
    keys.push_back(key_node.text("a key"));
    if (!seen.insert(keys.back()).second) {
      key_node.refuse(fmt::format("{:?} is given twice", keys.back()));
    }
  }
  return keys;
}

std::optional<YamlNode> YamlNode::find(const std::string &key) const {
  const YAML::Node value = node_[key];
  return value.IsDefined() ? std::optional(YamlNode(value, file_name_)) : std::nullopt;
}

YamlNode YamlNode::at(const std::string &key) const {
  const std::optional<YamlNode> value = find(key);
  if (!value) {
    refuse(fmt::format("the key {:?} is missing", key));
  }
  return *value;
}

std::vector<YamlNode> YamlNode::items(const std::string &what) const {
  if (!node_.IsSequence() || node_.size() == 0) {
    refuse(fmt::format("{} must be a list that is not empty", what));
  }
  std::vector<YamlNode> items;
  for (const auto &item : node_) {
    items.push_back(YamlNode(item, file_name_));
  }
  return items;
}

template <class T>
T YamlNode::scalar(const std::string &what, const char *kind) const {
  T value{};
  if (node_.IsScalar() && YAML::convert<T>::decode(node_, value)) {
    return value;
  }
  refuse(fmt::format("{} must be {}", what, kind));
}

int YamlNode::integer(const std::string &what) const { return scalar<int>(what, "a whole number"); }
float YamlNode::number(const std::string &what) const { return scalar<float>(what, "a number"); }
bool YamlNode::boolean(const std::string &what) const { return scalar<bool>(what, "true or false"); }
std::string YamlNode::text(const std::string &what) const { return scalar<std::string>(what, "a piece of text"); }

std::string yaml_text(const std::string &text) {
  YAML::Emitter emitter;
  emitter.SetStringFormat(YAML::DoubleQuoted);
  emitter << text;
  return emitter.c_str();
}

} // namespace sale::io
