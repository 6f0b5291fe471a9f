// SPDX-License-Identifier: Apache-2.0
#include "cli/output.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <fstream>
#include <system_error>

#include <unistd.h>

namespace sale::cli {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void refuse(const fs::path &path, const std::string &reason) {
  throw Error(ErrorKind::io, fmt::format("{}: the file cannot be written: {}", path.string(), reason));
}

fs::path folder_of(const fs::path &path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

// Devices and pipes are written to as they are; nothing may take their place.
bool is_special(const fs::path &path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  return fs::exists(status) && !fs::is_regular_file(status);
}

} // namespace

void require_writable_path(const fs::path &path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    refuse(path, "it is a folder");
  }
  const fs::path folder = folder_of(path);
  if (!fs::is_directory(folder, ignored)) {
    refuse(path, fmt::format("there is no folder {}", folder.string()));
  }
  const bool writable = is_special(path) ? ::access(path.c_str(), W_OK) == 0 : ::access(folder.c_str(), W_OK) == 0;
  if (!writable) {
    refuse(path, fmt::format("{} is not writable", is_special(path) ? "it" : folder.string()));
  }
}

void write_whole(const fs::path &path, const std::function<void(const fs::path &)> &write) {
  require_writable_path(path);
  if (is_special(path)) {
    write(path);
    return;
  }
  // A link keeps pointing to its file; the file is what is replaced.
  std::error_code code;
  const fs::path target = fs::exists(path, code) ? fs::canonical(path, code) : path;
  const fs::path temporary = fmt::format("{}.{}.tmp", target.string(), ::getpid());
  try {
    write(temporary);
  } catch (...) {
    fs::remove(temporary, code);
    throw;
  }
  fs::rename(temporary, target, code);
  if (code) {
    const std::string reason = code.message();
    fs::remove(temporary, code);
    refuse(path, reason);
  }
}

void write_text(const std::string &file_name, const std::string &text) {
  if (file_name.empty() || file_name == "-") {
    fmt::print("{}", text);
    return;
  }
  write_whole(file_name, [&](const fs::path &path) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    if (!file) {
      refuse(file_name, "is the disk full");
    }
  });
}

} // namespace sale::cli
