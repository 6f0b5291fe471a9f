// SPDX-License-Identifier: Apache-2.0
// sale cache path|list|verify|clear: the kernels on disk; bench is in a file of its own.
#include "cli/cache_commands.hpp"
#include "cli/text.hpp"

#include "cache/store.hpp"

#include <fmt/format.h>

#include <memory>

namespace sale::cli {

namespace {

int print_path(const Store &store) {
  fmt::print("{}\n", store.root().string());
  return exit_ok;
}

int list_files(const Store &store) {
  Table table({"kernel", "target", "nvrtc", "registers", "spills", "bytes", "key"});
  std::size_t bytes = 0;
  const std::vector<StoredFile> files = store.list();
  for (const StoredFile &file : files) {
    bytes += file.bytes;
    if (file.entry) {
      const Entry &entry = *file.entry;
      table.add({entry.spec, entry.target, entry.compiler_version, std::to_string(entry.registers),
                 std::to_string(entry.spill_bytes), std::to_string(file.bytes), entry.key.substr(0, 12)});
    } else {
      table.add({"damaged: " + file.problem, "", "", "", "", std::to_string(file.bytes), file.path.filename()});
    }
  }
  fmt::print("{}{} kernels, {} in {}\n", files.empty() ? "" : table.text(), files.size(), bytes_text(bytes),
             store.root().string());
  return exit_ok;
}

int verify_files(const Store &store) {
  std::size_t damaged = 0;
  const std::vector<StoredFile> files = store.list();
  for (const StoredFile &file : files) {
    if (!file.entry) {
      ++damaged;
      fmt::print(stderr, "sale: {}: {}\n", file.path.string(), file.problem);
    }
  }
  fmt::print("{} kernels checked, {} damaged\n", files.size(), damaged);
  return damaged == 0 ? exit_ok : exit_check_not_met;
}

int clear_files(const Store &store) {
  const Cleared cleared = store.clear();
  fmt::print("removed {} files, {}, from {}\n", cleared.files, bytes_text(cleared.bytes), store.root().string());
  return cleared.failed == 0 ? exit_ok : exit_failed;
}

// An action on the files of a cache that may not be there yet.
template <int (*action)(const Store &)>
int if_there(const Store &store) {
  if (store.exists()) {
    return action(store);
  }
  fmt::print("there is no cache at {}\n", store.root().string());
  return exit_ok;
}

} // namespace

void add_cache(CLI::App &app, Command &command) {
  auto options = std::make_shared<EngineOptions>();
  CLI::App *cache = app.add_subcommand("cache", "Look at or clear the kernels on disk");
  cache->require_subcommand(1);
  cache->fallthrough();
  options->add_cache_dir_to(*cache);
  const auto add = [&](const char *name, const char *help, int (*action)(const Store &)) {
    cache->add_subcommand(name, help)->callback([&command, options, action] {
      command = [options, action] { return action(Store({.root = options->cache_folder()}, warn)); };
    });
  };
  add("path", "Print the cache folder", print_path);
  add("list", "List every cached kernel", if_there<list_files>);
  add("verify", "Check every cached kernel; exit code 3 if one is damaged", if_there<verify_files>);
  add("clear", "Remove every cached kernel", if_there<clear_files>);
  add_cache_bench(*cache, command, options);
}

} // namespace sale::cli
