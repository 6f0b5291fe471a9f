// SPDX-License-Identifier: Apache-2.0
// What of Store the `sale cache` commands use: all files at once.
#include "cache/file_names.hpp"
#include "cache/store.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sale {

void Store::use_or_throw(const std::function<Failure(const CacheFolder::Opened &)> &use) const {
  const CacheFolder::Opened opened = folder_.use(IfAbsent::leave, use);
  if (opened.failure && opened.status != FileStatus::absent) {
    throw Error(ErrorKind::cache,
                fmt::format("the kernel cache {} cannot be read: {}", folder_.kernels().string(), opened.failure.text));
  }
}

bool Store::exists() const {
  bool there = false;
  use_or_throw([&](const CacheFolder::Opened &) {
    there = true;
    return Failure();
  });
  return there;
}

Collected Store::collect() const {
  Collected collected;
  use_or_throw([&](const CacheFolder::Opened &opened) {
    collected = collect_garbage(opened.root.get(), opened.kernels.get(), limits());
    return collected.failure.code == ESTALE ? collected.failure : Failure();
  });
  count(collected);
  return collected;
}

Usage Store::usage() const {
  std::vector<KernelFile> files;
  use_or_throw([&](const CacheFolder::Opened &opened) {
    files.clear();
    return list_kernel_files(opened.kernels.get(), files);
  });
  return usage_of(files);
}

std::vector<StoredFile> Store::list() const {
  std::vector<StoredFile> files;
  use_or_throw([&](const CacheFolder::Opened &opened) {
    files.clear();
    return for_each_name(opened.kernels.get(), [&](std::string_view found) {
      if (!is_kernel_file(found)) {
        return;
      }
      const std::string name(found);
      const FileContents contents = read_file_at(opened.kernels.get(), name, max_kernel_file_bytes, folder_.keeper());
      StoredFile file{folder_.kernels() / name, static_cast<std::size_t>(contents.facts.bytes), std::nullopt,
                      contents.problem};
      if (contents.status == FileStatus::ok) {
        ParsedEntry parsed = parse_entry(contents.bytes);
        file.entry = std::move(parsed.entry);
        file.problem = std::move(parsed.problem);
      }
      if (file.entry) {
        file.entry->binary = {};
        if (!is_named(name, *file.entry)) {
          file.entry.reset();
          file.problem = wrong_kernel_name;
        }
      }
      files.push_back(std::move(file));
    });
  });
  std::sort(files.begin(), files.end(), [](const StoredFile &a, const StoredFile &b) { return a.path < b.path; });
  return files;
}

Cleared Store::clear() const {
  Cleared cleared;
  use_or_throw([&](const CacheFolder::Opened &opened) {
    std::vector<std::string> ours;
    Failure failure = for_each_name(opened.kernels.get(), [&](std::string_view name) {
      if (is_kernel_file(name) || is_temporary_file(name)) {
        ours.emplace_back(name);
      }
    });
    for (const std::string &name : ours) {
      const Removal removal = remove_file_at(opened.kernels.get(), name);
      cleared.files += removal.removed ? 1 : 0;
      cleared.bytes += static_cast<std::size_t>(removal.bytes);
      if (removal.failure) {
        ++cleared.failed;
        disk_error(fmt::format("could not remove {}: {}", (folder_.kernels() / name).string(), removal.failure.text));
      }
    }
    return failure;
  });
  return cleared;
}

} // namespace sale
