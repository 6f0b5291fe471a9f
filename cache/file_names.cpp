// SPDX-License-Identifier: Apache-2.0
#include "cache/file_names.hpp"

#include "cache/file.hpp"

#include <fmt/format.h>

namespace sale {

namespace {

constexpr std::string_view kernel_extension = ".kernel";
constexpr std::string_view lock_extension = ".lock";

// Without slashes, and without the dash that parts are told apart by.
std::string plain(std::string_view text) {
  std::string part;
  for (const char c : text) {
    const bool keep = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.';
    part += keep ? c : '_';
  }
  return part;
}

std::string name_of(const std::string &key, const CompilerId &compiler, std::string_view extension) {
  return fmt::format("{}-{}-{}{}", plain(key), plain(compiler.version), plain(compiler.build), extension);
}

} // namespace

std::string kernel_file_name(const std::string &key, const CompilerId &compiler) {
  return name_of(key, compiler, kernel_extension);
}

CompilerId compiler_of(const Entry &entry) { return {entry.compiler_version, entry.compiler_build}; }

bool is_named(std::string_view name, const Entry &entry) {
  return kernel_file_name(entry.key, compiler_of(entry)) == name;
}

std::string lock_file_name(const std::string &key, const CompilerId &compiler) {
  return name_of(key, compiler, lock_extension);
}

bool is_kernel_file(std::string_view name) { return name.ends_with(kernel_extension) && !is_temporary_file(name); }

std::string kernel_file_start(const std::string &key) { return plain(key) + "-"; }

bool is_lock_file(std::string_view name) { return name.ends_with(lock_extension); }

bool is_temporary_file(std::string_view name) { return name.starts_with(temporary_prefix); }

CompilerId compiler_in(std::string_view name) {
  name.remove_suffix(name.ends_with(kernel_extension) ? kernel_extension.size() : 0);
  const std::size_t version = name.find('-');
  if (version == std::string_view::npos) {
    return {};
  }
  const std::string_view rest = name.substr(version + 1);
  const std::size_t build = rest.find('-');
  if (build == std::string_view::npos) {
    return {std::string(rest), {}};
  }
  return {std::string(rest.substr(0, build)), std::string(rest.substr(build + 1))};
}

} // namespace sale
