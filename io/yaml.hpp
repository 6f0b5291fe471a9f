// SPDX-License-Identifier: Apache-2.0
// Strict reading of YAML: unknown keys, wrong types and missing fields are one-sentence errors "FILE:LINE: ...".
#pragma once

#include "io/yaml_limits.hpp"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sale::io {

class YamlNode {
public:
  static YamlNode load(const std::filesystem::path &path);
  static YamlNode parse(const std::string &text, const std::string &file_name, const YamlLimits &limits = {});

  bool is_map() const { return node_.IsMap(); }
  bool is_null() const { return node_.IsNull(); }
  /// Refuses anything but a map of these keys, each given once.
  void require_map(const std::vector<std::string_view> &known_keys) const;

  /// The keys of a map, each given once; `what` names the map in errors.
  std::vector<std::string> keys(const std::string &what) const;

  std::optional<YamlNode> find(const std::string &key) const;
  YamlNode at(const std::string &key) const;

  /// The entries of a sequence that is not empty; `what` names it in errors.
  std::vector<YamlNode> items(const std::string &what) const;

  int integer(const std::string &what) const;
  float number(const std::string &what) const;
  bool boolean(const std::string &what) const;
  std::string text(const std::string &what) const;

  /// Of the file, from 1.
  int line() const;
  [[noreturn]] void refuse(const std::string &sentence) const;

private:
  YamlNode(const YAML::Node &node, std::shared_ptr<const std::string> file_name)
      : node_(node), file_name_(std::move(file_name)) {}

  template <class T>
  T scalar(const std::string &what, const char *kind) const;

  YAML::Node node_;
  std::shared_ptr<const std::string> file_name_;
};

/// A text as a value in YAML, with quotes where it needs them.
std::string yaml_text(const std::string &text);

/// The whole of a small text file; throws Error(io).
std::string read_text_file(const std::filesystem::path &path);

} // namespace sale::io
