// SPDX-License-Identifier: Apache-2.0
#include "cache/limits.hpp"

#include "cache/directory.hpp"
#include "cache/file_names.hpp"

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

namespace sale {

namespace {

constexpr std::int64_t hour = std::int64_t{3600} * 1'000'000'000;

std::uint64_t nine_tenths(std::uint64_t limit) { return limit - limit / 10; }

void note(Collected &collected, Failure failure) {
  if (failure && !collected.failure) {
    collected.failure = std::move(failure);
  }
}

void count_removal(Collected &collected, Removal removal, std::uint64_t &removed) {
  removed += removal.removed ? 1 : 0;
  collected.failed += removal.failure ? 1 : 0;
  note(collected, std::move(removal.failure));
}

// A lock that somebody holds is not forgotten, however old. Where nothing can be locked nobody holds one.
bool is_held(int folder, const std::string &name) {
  const Descriptor file(without_interruption(
      [&] { return ::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK); }));
  return file && without_interruption([&] { return ::flock(file.get(), LOCK_EX | LOCK_NB); }) != 0 &&
         errno == EWOULDBLOCK;
}

template <class IsOurs>
void sweep(int folder, const IsOurs &is_ours, Collected &collected) {
  std::vector<std::string> names;
  note(collected, for_each_name(folder, [&](std::string_view name) {
         if (is_ours(name)) {
           names.emplace_back(name);
         }
       }));
  for (const std::string &name : names) {
    FileFacts facts;
    Failure failure;
    if (look_at(folder, name, facts, failure) == FileStatus::ok && stamp_now() - facts.stamp > hour &&
        !(is_lock_file(name) && is_held(folder, name))) {
      count_removal(collected, remove_unchanged(folder, name, facts), collected.swept);
    }
    note(collected, std::move(failure));
  }
}

// A clock that was ahead leaves stamps in the future. They count as now, and from now on they age like all others: else
// such kernels would be the last to go until the clock is there again.
void bring_to_now(int kernels, const std::vector<KernelFile> &files) {
  const std::int64_t now = stamp_now();
  for (const KernelFile &file : files) {
    if (file.facts.stamp > now) {
      stamp_file(kernels, file.name);
    }
  }
}

void evict(int kernels, std::vector<KernelFile> files, const Limits &limits, Collected &collected) {
  std::sort(files.begin(), files.end(), [](const KernelFile &a, const KernelFile &b) {
    return std::tie(a.facts.stamp, a.name) < std::tie(b.facts.stamp, b.name);
  });
  const Limits target{nine_tenths(limits.max_bytes), nine_tenths(limits.max_files)};
  for (const KernelFile &file : files) {
    if (!exceeds(collected.kept, target)) {
      return;
    }
    Removal removal = remove_unchanged(kernels, file.name, file.facts);
    if (removal.removed) {
      --collected.kept.files;
      collected.kept.bytes -= file.facts.bytes;
      collected.evicted.bytes += removal.bytes;
    }
    count_removal(collected, std::move(removal), collected.evicted.files);
  }
}

} // namespace

bool exceeds(const Usage &usage, const Limits &limits) {
  return (limits.max_bytes != 0 && usage.bytes > limits.max_bytes) ||
         (limits.max_files != 0 && usage.files > limits.max_files);
}

Failure list_kernel_files(int kernels, std::vector<KernelFile> &files) {
  std::vector<std::string> names;
  Failure failure = for_each_name(kernels, [&](std::string_view name) {
    if (is_kernel_file(name)) {
      names.emplace_back(name);
    }
  });
  for (std::string &name : names) {
    FileFacts facts;
    Failure unseen;
    if (look_at(kernels, name, facts, unseen) == FileStatus::ok) {
      files.push_back({std::move(name), facts});
    } else if (unseen && !failure) {
      failure = std::move(unseen);
    }
  }
  return failure;
}

Usage usage_of(const std::vector<KernelFile> &files) {
  Usage usage{files.size(), 0};
  for (const KernelFile &file : files) {
    usage.bytes += file.facts.bytes;
  }
  return usage;
}

Collected collect_garbage(int root, int kernels, const Limits &limits) {
  Collected collected;
  const GarbageLock lock(root);
  collected.busy = lock.busy();
  if (lock.busy() || lock.failure()) {
    note(collected, lock.failure());
    return collected;
  }
  sweep(root, is_temporary_file, collected);
  sweep(kernels, is_temporary_file, collected);
  const OpenedFolder locks = open_folder_at(root, locks_folder, Keeper::me, IfAbsent::leave);
  if (locks.folder) {
    sweep(locks.folder.get(), is_lock_file, collected);
  }
  note(collected, locks.status == FileStatus::absent ? Failure() : locks.failure);

  std::vector<KernelFile> files;
  note(collected, list_kernel_files(kernels, files));
  collected.kept = usage_of(files);
  if (exceeds(collected.kept, limits)) {
    evict(kernels, files, limits, collected);
  }
  bring_to_now(kernels, files);
  return collected;
}

GarbageLock::GarbageLock(int root)
    : file_(without_interruption([&] {
        return ::openat(root, garbage_lock_file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
      })) {
  struct stat info{};
  if (!file_) {
    failure_ = errno == ELOOP ? Failure{errno, "gc.lock is a symbolic link"} : failure_of("open gc.lock", errno);
  } else if (without_interruption([&] { return ::fstat(file_.get(), &info); }) != 0) {
    failure_ = failure_of("fstat gc.lock", errno);
  } else if (!S_ISREG(info.st_mode)) {
    failure_ = {0, "gc.lock is not a regular file"};
  } else if (const std::string reason = distrust(info, Keeper::me); !reason.empty()) {
    failure_ = {0, "gc.lock: " + reason};
  } else {
    busy_ = without_interruption([&] { return ::flock(file_.get(), LOCK_EX | LOCK_NB); }) != 0 && errno == EWOULDBLOCK;
  }
}

} // namespace sale
