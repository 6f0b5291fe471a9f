// SPDX-License-Identifier: Apache-2.0
// sale cache path|list|stats|verify|gc|clear: the kernels on disk; packs and bench have files of their own.
#include "cli/cache_commands.hpp"
#include "cli/text.hpp"

#include "cache/history.hpp"
#include "cache/store.hpp"

#include <fmt/format.h>

#include <algorithm>
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

std::string of_at_most(const std::string &value, std::uint64_t limit, const std::string &limit_text) {
  return limit == 0 ? value : fmt::format("{} of at most {}", value, limit_text);
}

int print_stats(const Store &store) {
  const Usage usage = store.usage();
  const StoreOptions &limits = store.options();
  Table table({"", store.root().string()});
  table.add({"files", of_at_most(std::to_string(usage.files), limits.max_files, std::to_string(limits.max_files))});
  table.add({"bytes", of_at_most(bytes_text(usage.bytes), limits.max_bytes, bytes_text(limits.max_bytes))});
  const CacheCounters counters = store.history();
  for (const CounterField &field : counter_fields()) {
    std::string name(field.name);
    std::replace(name.begin(), name.end(), '_', ' ');
    table.add({name, std::to_string(counters.*field.value)});
  }
  fmt::print("{}", table.text());
  return exit_ok;
}

int collect_files(const Store &store) {
  const Collected collected = store.collect();
  if (collected.busy) {
    fmt::print("another process cleans {} at this moment\n", store.root().string());
    return exit_ok;
  }
  fmt::print("removed {} kernels, {}, and {} leftover files; {} kernels, {} stay in {}\n", collected.evicted.files,
             bytes_text(collected.evicted.bytes), collected.swept, collected.kept.files,
             bytes_text(collected.kept.bytes), store.root().string());
  return collected.failure ? exit_failed : exit_ok;
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

void add_verify(CLI::App &cache, Command &command, const std::shared_ptr<EngineOptions> &options) {
  auto file = std::make_shared<std::string>();
  auto key = std::make_shared<std::string>();
  CLI::App *sub = cache.add_subcommand("verify", "Check every cached kernel; exit code 3 if one is damaged");
  sub->add_option("FILE", *file, "A pack to check instead");
  add_pack_key_to(*sub, *key);
  sub->callback([&command, options, file, key] {
    command = [options, file, key] {
      return file->empty() ? if_there<verify_files>(Store({.root = options->cache_folder(), .writable = false}, warn))
                           : verify_pack(*file, *key);
    };
  });
}

} // namespace

void add_cache(CLI::App &app, Command &command) {
  auto options = std::make_shared<EngineOptions>();
  CLI::App *cache = app.add_subcommand("cache", "Look at or clear the kernels on disk");
  cache->require_subcommand(1);
  cache->fallthrough();
  options->add_cache_dir_to(*cache);
  auto store = std::make_shared<StoreOptions>();
  // Who only looks may look at a system's folder too.
  enum Use : bool { looks, writes };
  const auto add = [&](const char *name, Use use, const char *help, int (*action)(const Store &)) {
    CLI::App *sub = cache->add_subcommand(name, help);
    sub->callback([&command, options, store, use, action] {
      command = [options, store, use, action] {
        store->root = options->cache_folder();
        store->writable = use == writes;
        return action(Store(*store, warn));
      };
    });
    return sub;
  };
  add("path", looks, "Print the cache folder", print_path);
  add("list", looks, "List every cached kernel", if_there<list_files>);
  add("stats", looks, "What the folder holds, and what became of all kernels that were asked for",
      if_there<print_stats>);
  add_verify(*cache, command, options);
  CLI::App *gc = add("gc", writes, "Remove leftover files, and above the limits the least recently used kernels",
                     if_there<collect_files>);
  gc->add_option("--max-bytes", store->max_bytes, "e.g. 500MiB; 0 = no limit (default 1GiB)")
      ->transform(CLI::AsSizeValue(false));
  gc->add_option("--max-files", store->max_files, "0 = no limit (default 16384)");
  add("clear", writes, "Remove every cached kernel", if_there<clear_files>);
  add_cache_pack(*cache, command, options);
  add_cache_bench(*cache, command, options);
}

} // namespace sale::cli
