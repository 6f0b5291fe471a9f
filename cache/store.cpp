// SPDX-License-Identifier: Apache-2.0
#include "cache/store.hpp"

#include "cache/file.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string_view>
#include <system_error>
#include <utility>

#include <unistd.h>

namespace sale {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view extension = ".kernel";
// Room for the preamble on top of the two bounded parts.
constexpr std::size_t max_file_bytes = max_entry_header_bytes + max_entry_binary_bytes + 4096;

// Versions and builds become part of a file name.
std::string file_name_part(std::string_view text) {
  std::string part;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.';
    part += plain ? c : '_';
  }
  return part;
}

std::string stem_of(const std::string &key, const CompilerId &compiler) {
  return fmt::format("{}-{}-{}", key, file_name_part(compiler.version), file_name_part(compiler.build));
}

bool is_kernel_file(const fs::path &path) { return path.extension() == extension; }
bool is_temporary_file(const fs::path &path) { return path.filename().string().rfind(temporary_prefix, 0) == 0; }

// An absent folder is an empty one.
template <class Visit>
std::error_code for_each_file(const fs::path &folder, const Visit &visit) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    visit(it->path());
  }
  return error == std::errc::no_such_file_or_directory ? std::error_code() : error;
}

void require_read(const fs::path &folder, const std::error_code &error) {
  if (error) {
    throw Error(ErrorKind::cache,
                fmt::format("the kernel cache {} cannot be read: {}", folder.string(), error.message()));
  }
}

} // namespace

Store::Store(StoreOptions options, Warning warning) : options_(std::move(options)), warning_(std::move(warning)) {}

fs::path Store::path_of(const std::string &key, const CompilerId &compiler) const {
  return folder() / (stem_of(key, compiler) + std::string(extension));
}

fs::path Store::lock_path(const std::string &key, const CompilerId &compiler) const {
  const fs::path locks = options_.root / "locks";
  if (options_.writable) {
    make_private_directory(locks); // Without it there is no lock, which costs time at most.
  }
  return locks / (stem_of(key, compiler) + ".lock");
}

std::vector<fs::path> Store::newest_first(const std::string &key) const {
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  const std::error_code unread = for_each_file(folder(), [&](const fs::path &path) {
    if (is_kernel_file(path) && path.filename().string().rfind(key + "-", 0) == 0) {
      std::error_code error;
      found.emplace_back(fs::last_write_time(path, error), path);
    }
  });
  if (unread) {
    disk_error(fmt::format("could not read the kernel cache {}: {}", folder().string(), unread.message()));
  }
  std::sort(found.begin(), found.end(), std::greater<>());
  std::vector<fs::path> paths;
  paths.reserve(found.size());
  for (auto &[time, path] : found) {
    paths.push_back(std::move(path));
  }
  return paths;
}

void Store::disk_error(const std::string &sentence) const {
  ++counts_.errors;
  if (warning_) {
    warning_(sentence);
  }
}

bool Store::trusted() const {
  std::error_code error;
  if (!fs::exists(folder(), error)) {
    return false;
  }
  const auto problem = check_private_directory(folder());
  if (problem && !refused_.exchange(true)) {
    disk_error(fmt::format("the kernel cache {} is not used: {}", folder().string(), *problem));
  }
  return !problem;
}

std::optional<Entry> Store::read(const fs::path &path, const std::string &key,
                                 const std::optional<CompilerId> &compiler) const {
  FileContents file = read_file(path, max_file_bytes);
  if (file.status == FileStatus::absent) {
    return std::nullopt;
  }
  if (file.status == FileStatus::failed) {
    disk_error(fmt::format("could not read the cache file {}: {}", path.string(), file.problem));
    return std::nullopt;
  }
  ParsedEntry parsed = parse_entry(file.bytes);
  if (parsed.entry &&
      (parsed.entry->key != key ||
       (compiler && CompilerId{parsed.entry->compiler_version, parsed.entry->compiler_build} != *compiler))) {
    parsed = {std::nullopt, "it holds another kernel than its name says"};
  }
  if (!parsed.entry && !options_.writable) {
    disk_error(fmt::format("the cache file {} is damaged: {}", path.string(), parsed.problem));
  } else if (!parsed.entry) {
    ++counts_.corrupt;
    if (warning_) {
      warning_(fmt::format("removed the damaged cache file {}: {}", path.string(), parsed.problem));
    }
    std::error_code error;
    if (!fs::remove(path, error) && error) {
      disk_error(fmt::format("could not remove the damaged cache file {}: {}", path.string(), error.message()));
    }
  }
  return std::move(parsed.entry);
}

std::optional<Entry> Store::lookup(const std::string &key, const std::optional<CompilerId> &compiler) const {
  if (trusted()) {
    const std::vector<fs::path> paths = compiler ? std::vector{path_of(key, *compiler)} : newest_first(key);
    for (const fs::path &path : paths) {
      if (auto entry = read(path, key, compiler)) {
        ++counts_.hits;
        return entry;
      }
    }
  }
  ++counts_.misses;
  return std::nullopt;
}

std::optional<std::string> Store::make_folder() const {
  std::optional<std::string> problem = make_private_directory(folder());
  if (!problem && ::access(folder().c_str(), W_OK) != 0) {
    problem = std::generic_category().message(errno);
  }
  return problem;
}

bool Store::exists() const {
  std::error_code error;
  const fs::file_status status = fs::status(folder(), error);
  // What is below a file or a folder that may not be entered is not absent but out of reach.
  if (status.type() == fs::file_type::none || error == std::errc::not_a_directory) {
    require_read(folder(), error);
  }
  return fs::exists(status);
}

void Store::publish(const Entry &entry) const {
  if (!options_.writable) {
    return;
  }
  std::optional<std::string> problem = make_folder();
  if (!problem) {
    try {
      problem =
          write_file_atomically(path_of(entry.key, {entry.compiler_version, entry.compiler_build}), serialize(entry));
    } catch (const Error &error) {
      problem = error.what();
    }
  }
  if (!problem) {
    ++counts_.published;
  } else if (!refused_.exchange(true)) {
    disk_error(fmt::format("the kernel cache {} takes no files, so kernels are compiled again next time: {}",
                           folder().string(), *problem));
  } else {
    ++counts_.errors;
  }
}

std::vector<StoredFile> Store::list() const {
  std::vector<StoredFile> files;
  const std::error_code unread = for_each_file(folder(), [&](const fs::path &path) {
    if (!is_kernel_file(path)) {
      return;
    }
    FileContents contents = read_file(path, max_file_bytes);
    StoredFile file{path, contents.bytes.size(), std::nullopt, contents.problem};
    if (contents.status == FileStatus::ok) {
      ParsedEntry parsed = parse_entry(contents.bytes);
      file.entry = std::move(parsed.entry);
      file.problem = std::move(parsed.problem);
    }
    if (file.entry) {
      file.entry->binary = {};
      if (path_of(file.entry->key, {file.entry->compiler_version, file.entry->compiler_build}) != path) {
        file.entry.reset();
        file.problem = "it holds another kernel than its name says";
      }
    }
    files.push_back(std::move(file));
  });
  require_read(folder(), unread);
  std::sort(files.begin(), files.end(), [](const StoredFile &a, const StoredFile &b) { return a.path < b.path; });
  return files;
}

Cleared Store::clear() const {
  Cleared cleared;
  std::vector<fs::path> ours;
  const std::error_code unread = for_each_file(folder(), [&](const fs::path &path) {
    if (is_kernel_file(path) || is_temporary_file(path)) {
      ours.push_back(path);
    }
  });
  require_read(folder(), unread);
  for (const fs::path &path : ours) {
    std::error_code error;
    const auto bytes = fs::file_size(path, error);
    if (fs::remove(path, error)) {
      ++cleared.files;
      cleared.bytes += static_cast<std::size_t>(bytes);
    } else if (error) {
      ++cleared.failed;
      disk_error(fmt::format("could not remove {}: {}", path.string(), error.message()));
    }
  }
  return cleared;
}

StoreCounters Store::counters() const {
  return {counts_.hits, counts_.misses, counts_.corrupt, counts_.published, counts_.errors};
}

} // namespace sale
