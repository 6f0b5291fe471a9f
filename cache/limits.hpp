// SPDX-License-Identifier: Apache-2.0
// Keeps a cache folder small: least recently used kernels go first, forgotten temporary files and locks with them.
#pragma once

#include "cache/descriptor.hpp"
#include "cache/file.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sale {

/// Of kernel files; 0 = no limit.
struct Limits {
  std::uint64_t max_bytes = std::uint64_t{1} << 30;
  std::uint64_t max_files = 16384;
};

struct Usage {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

bool exceeds(const Usage &usage, const Limits &limits);

struct KernelFile {
  std::string name;
  FileFacts facts;
};

/// The regular kernel files of an opened folder, in any order.
Failure list_kernel_files(int kernels, std::vector<KernelFile> &files);
Usage usage_of(const std::vector<KernelFile> &files);

struct Collected {
  bool busy = false;        ///< Another process is at it; nothing was done here.
  Usage kept;               ///< Kernels that are left.
  Usage evicted;            ///< Kernels removed.
  std::uint64_t swept = 0;  ///< Temporary files and locks removed that nobody had touched for an hour.
  std::uint64_t failed = 0; ///< Files that could not be removed.
  Failure failure;          ///< The first thing that failed.
};

/// Sweeps; and where a limit is exceeded, evicts down to nine tenths of it. Safe while others read, write and collect:
/// a file that was used or replaced meanwhile stays.
Collected collect_garbage(int root, int kernels, const Limits &limits);

/// One collector at a time; where files cannot be locked, as many as like, which is safe too.
class GarbageLock {
public:
  explicit GarbageLock(int root);
  bool busy() const { return busy_; }
  const Failure &failure() const { return failure_; } ///< What is in the lock's place is not ours: hands off.

private:
  Descriptor file_;
  bool busy_ = false;
  Failure failure_;
};

} // namespace sale
