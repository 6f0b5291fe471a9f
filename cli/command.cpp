// SPDX-License-Identifier: Apache-2.0
#include "cli/command.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>

namespace sale::cli {

void warn(const std::string &sentence) { fmt::print(stderr, "sale: warning: {}\n", sentence); }

void write_text(const std::string &file_name, const std::string &text) {
  if (file_name.empty() || file_name == "-") {
    fmt::print("{}", text);
    return;
  }
  std::ofstream file(file_name, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) {
    throw Error(ErrorKind::io,
                fmt::format("{}: the file cannot be written; check that the folder exists and is writable", file_name));
  }
}

} // namespace sale::cli
