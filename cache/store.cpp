// SPDX-License-Identifier: Apache-2.0
#include "cache/store.hpp"

#include "cache/file_names.hpp"
#include "cache/history.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

namespace sale {

namespace fs = std::filesystem;

namespace {

// A use within this time of the last one is not worth a write.
constexpr std::int64_t stamp_age = std::int64_t{3600} * 1'000'000'000;

} // namespace

Store::Store(StoreOptions options, Warning warning)
    : options_(std::move(options)), warning_(std::move(warning)),
      folder_(options_.root, options_.writable ? Keeper::me : Keeper::me_or_root) {}

Store::~Store() {
  try {
    CacheCounters counters;
    counters.user_hits = counts_.hits;
    counters.misses = counts_.misses;
    counters.published = counts_.published;
    counters.repairs = counts_.corrupt;
    counters.evictions = counts_.evicted;
    counters.disk_errors = counts_.errors;
    const CacheCounters &all = history_ ? *history_ : counters;
    const std::span<const CounterField> fields = counter_fields();
    if (!options_.writable ||
        std::all_of(fields.begin(), fields.end(), [&](const CounterField &field) { return all.*field.value == 0; })) {
      return;
    }
    const OpenedFolder root = open_folder(folder_.root(), Keeper::me, IfAbsent::leave);
    if (root.folder) {
      append_history(root.folder.get(), all);
    }
  } catch (const std::exception &) {
    // Out of memory: a line of the history is lost.
    return;
  }
}

fs::path Store::lock_path(const std::string &key, const CompilerId &compiler) const {
  if (!options_.writable) {
    return {};
  }
  const OpenedFolder root = open_folder(folder_.root(), Keeper::me, IfAbsent::make);
  const bool ready = root.folder && open_folder_at(root.folder.get(), locks_folder, Keeper::me, IfAbsent::make).folder;
  return ready ? folder_.root() / locks_folder / lock_file_name(key, compiler) : fs::path();
}

void Store::disk_error(const std::string &sentence) const {
  ++counts_.errors;
  if (warning_) {
    warning_(sentence);
  }
}

void Store::refuse(const std::string &sentence) const {
  if (!refused_.exchange(true)) {
    disk_error(sentence);
  } else {
    ++counts_.errors;
  }
}

std::vector<std::string> Store::newest_first(int kernels, const std::string &key, Failure &failure) const {
  struct Candidate {
    CompilerId compiler;
    std::int64_t stamp;
    std::string name;
  };
  std::vector<Candidate> found;
  const std::int64_t now = stamp_now();
  Failure unseen;
  const std::string start = kernel_file_start(key);
  failure = for_each_name(kernels, [&](std::string_view name) {
    FileFacts facts;
    if (name.starts_with(start) && is_kernel_file(name) &&
        look_at(kernels, std::string(name), facts, unseen) == FileStatus::ok) {
      found.push_back({compiler_in(name), std::min(facts.stamp, now), std::string(name)});
    }
  });
  if (!failure) {
    failure = std::move(unseen);
  }
  std::sort(found.begin(), found.end(), [](const Candidate &a, const Candidate &b) {
    const int versions = compare_versions(a.compiler.version, b.compiler.version);
    if (versions != 0) {
      return versions > 0;
    }
    return a.stamp != b.stamp ? a.stamp > b.stamp : is_newer(a.compiler, b.compiler);
  });
  std::vector<std::string> names;
  names.reserve(found.size());
  for (Candidate &candidate : found) {
    names.push_back(std::move(candidate.name));
  }
  return names;
}

void Store::repair(int kernels, const std::string &name, const FileFacts &facts, const std::string &problem) const {
  const std::string path = (folder_.kernels() / name).string();
  if (!options_.writable) {
    disk_error(fmt::format("the cache file {} is damaged: {}", path, problem));
    return;
  }
  ++counts_.corrupt;
  const Removal removal = remove_unchanged(kernels, name, facts);
  if (removal.failure) {
    disk_error(fmt::format("the cache file {} is damaged ({}) and could not be removed: {}", path, problem,
                           removal.failure.text));
  } else if (warning_) {
    warning_(fmt::format("removed the damaged cache file {}: {}", path, problem));
  }
}

// A failure here is one of the folder; those of single files are reported, and the next file is tried.
Failure Store::find(int kernels, const std::string &key, const std::optional<CompilerId> &compiler,
                    std::optional<Entry> &found) const {
  Failure failure;
  const std::vector<std::string> names =
      compiler ? std::vector{kernel_file_name(key, *compiler)} : newest_first(kernels, key, failure);
  for (const std::string &name : names) {
    const FileContents file = read_file_at(kernels, name, max_kernel_file_bytes, folder_.keeper());
    if (file.status == FileStatus::absent) {
      continue;
    }
    if (file.code == ESTALE) {
      return {file.code, file.problem};
    }
    if (file.status == FileStatus::failed) {
      disk_error(
          fmt::format("could not read the cache file {}: {}", (folder_.kernels() / name).string(), file.problem));
      continue;
    }
    ParsedEntry parsed = parse_entry(file.bytes);
    if (parsed.entry && !(parsed.entry->key == key && is_named(name, *parsed.entry) &&
                          (!compiler || compiler_of(*parsed.entry) == *compiler))) {
      parsed = {std::nullopt, wrong_kernel_name};
    }
    if (!parsed.entry) {
      repair(kernels, name, file.facts, parsed.problem);
      continue;
    }
    const std::int64_t age = stamp_now() - file.facts.stamp;
    if (options_.writable && (age > stamp_age || age < 0)) {
      stamp_file(kernels, name);
    }
    found = std::move(parsed.entry);
    return {};
  }
  return failure;
}

std::optional<Entry> Store::lookup(const std::string &key, const std::optional<CompilerId> &compiler) const {
  std::optional<Entry> found;
  try {
    const CacheFolder::Opened folders = folder_.use(IfAbsent::leave, [&](const CacheFolder::Opened &opened) {
      return find(opened.kernels.get(), key, compiler, found);
    });
    if (folders.status == FileStatus::failed) {
      refuse(fmt::format("the kernel cache {} is not used: {}", folder_.kernels().string(), folders.failure.text));
    } else if (folders.status == FileStatus::ok && folders.failure) {
      disk_error(
          fmt::format("could not read the kernel cache {}: {}", folder_.kernels().string(), folders.failure.text));
    }
  } catch (const std::exception &error) {
    disk_error(fmt::format("could not read the kernel cache {}: {}", folder_.kernels().string(), error.what()));
  }
  ++(found ? counts_.hits : counts_.misses);
  return found;
}

std::optional<std::string> Store::make_folder() const {
  const CacheFolder::Opened folders = folder_.use(
      IfAbsent::make, [](const CacheFolder::Opened &opened) { return try_to_write_in(opened.kernels.get()); });
  return folders.failure ? std::optional(folders.failure.text) : std::nullopt;
}

void Store::publish(const Entry &entry) const {
  if (!options_.writable) {
    return;
  }
  try {
    const std::vector<unsigned char> bytes = serialize(entry);
    const std::string name = kernel_file_name(entry.key, compiler_of(entry));
    const CacheFolder::Opened folders = folder_.use(IfAbsent::make, [&](const CacheFolder::Opened &opened) {
      return write_file_at(opened.kernels.get(), name, bytes);
    });
    if (folders.failure) {
      refuse(fmt::format("the kernel cache {} takes no files, so kernels are compiled again next time: {}",
                         folder_.kernels().string(), folders.failure.text));
      return;
    }
    ++counts_.published;
    keep_limits(bytes.size());
  } catch (const std::exception &error) {
    refuse(fmt::format("a kernel could not be written to the kernel cache {}: {}", folder_.kernels().string(),
                       error.what()));
  }
}

void Store::keep_limits(std::uint64_t added_bytes) const {
  if (options_.max_bytes == 0 && options_.max_files == 0) {
    return;
  }
  {
    const std::scoped_lock lock(growth_);
    if (estimate_) {
      ++estimate_->files;
      estimate_->bytes += added_bytes;
    } else {
      std::vector<KernelFile> files;
      const CacheFolder::Opened folders = folder_.use(IfAbsent::leave, [&](const CacheFolder::Opened &opened) {
        files.clear();
        return list_kernel_files(opened.kernels.get(), files);
      });
      Collected unseen;
      unseen.failure = folders.failure;
      count(unseen);
      estimate_ = usage_of(files);
    }
    if (!exceeds(*estimate_, limits())) {
      return;
    }
  }
  Collected collected;
  const CacheFolder::Opened folders = folder_.use(IfAbsent::leave, [&](const CacheFolder::Opened &opened) {
    collected = collect_garbage(opened.root.get(), opened.kernels.get(), limits());
    return collected.failure;
  });
  collected.failure = folders.failure;
  count(collected);
  if (!collected.busy && !collected.failure) {
    const std::scoped_lock lock(growth_);
    estimate_ = collected.kept;
  }
}

void Store::count(const Collected &collected) const {
  counts_.evicted += static_cast<std::size_t>(collected.evicted.files);
  if (!collected.failure) {
    return;
  }
  ++counts_.errors;
  if (warning_ && !cannot_collect_.exchange(true)) {
    warning_(fmt::format("the limits of the kernel cache {} could not be kept: {}", folder_.root().string(),
                         collected.failure.text));
  }
}

StoreCounters Store::counters() const {
  return {counts_.hits, counts_.misses, counts_.corrupt, counts_.published, counts_.evicted, counts_.errors};
}

void Store::set_history(const CacheCounters &counters) { history_ = counters; }

CacheCounters Store::history() const {
  const OpenedFolder root = open_folder(folder_.root(), folder_.keeper(), IfAbsent::leave);
  return root.folder ? read_history(root.folder.get(), folder_.keeper()) : CacheCounters();
}

} // namespace sale
