// SPDX-License-Identifier: Apache-2.0
#include "generator/template_source.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sale {

namespace {

constexpr std::string_view include_prefix = "#include \"";

std::string_view find_template(std::string_view path) {
  const auto &files = embedded_templates();
  const auto file = std::find_if(files.begin(), files.end(), [&](const TemplateFile &f) { return f.path == path; });
  if (file == files.end()) {
    throw Error(ErrorKind::generate, fmt::format("no kernel template is called {}", path));
  }
  return file->text;
}

std::string_view take_line(std::string_view &text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

} // namespace

std::string flatten_template(std::string_view path, std::set<std::string, std::less<>> &seen) {
  if (!seen.emplace(path).second) {
    return {};
  }
  std::string includes;
  std::string comment;
  std::string body;
  std::string_view text = find_template(path);
  bool in_body = false;
  bool follows = false; // whether this line comes right after the last one in `body`
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = take_line(text);
    if (line.substr(0, include_prefix.size()) == include_prefix) {
      const std::string_view rest = line.substr(include_prefix.size());
      includes += flatten_template(rest.substr(0, rest.find('"')), seen);
      follows = false;
    } else if (line == "#pragma once") {
      in_body = true;
    } else if (!in_body) {
      if (line != license_line) {
        comment.append(line).push_back('\n');
      }
    } else if (follows || !line.empty()) {
      if (!follows) {
        body += line_directive(number, path);
      }
      body.append(line).push_back('\n');
      follows = true;
    }
  }
  return fmt::format("{}\n{}{}", includes, comment, body);
}

std::string line_directive(int line, std::string_view file) { return fmt::format("#line {} \"{}\"\n", line, file); }

} // namespace sale
