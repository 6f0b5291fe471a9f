// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/global_memory.hpp"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>

namespace sale::emulator {

namespace {

constexpr std::size_t allocation_alignment = 512;
constexpr std::size_t guard = 4096; ///< On both sides: what escapes the checks hits nothing else.

struct Range {
  std::uintptr_t first = 0;
  std::uintptr_t end = 0;

  bool holds(std::uintptr_t address, std::size_t bytes) const {
    return address >= first && address <= end && bytes <= end - address;
  }
};

std::shared_mutex ranges_mutex;
std::map<std::uintptr_t, Range> ranges; ///< By first address.
std::atomic<u64> frees = 0;             ///< What was found before is no longer certain.

/// The ranges that this OS thread met last: kernels go back and forth between a few.
struct Cache {
  u64 frees = 0;
  std::size_t next = 0;
  std::array<Range, 8> ranges{};
};
thread_local Cache cache;

/// The allocation with the highest start that is not above `address`.
std::map<std::uintptr_t, Range>::const_iterator below(std::uintptr_t address) {
  const auto after = ranges.upper_bound(address);
  return after == ranges.begin() ? ranges.end() : std::prev(after);
}

bool look_up(Cache &known, std::uintptr_t address, std::size_t bytes) {
  const std::shared_lock lock(ranges_mutex);
  if (known.frees != frees) {
    known = {.frees = frees};
  }
  const auto found = below(address);
  if (found == ranges.end() || !found->second.holds(address, bytes)) {
    return false;
  }
  known.ranges[known.next++ % known.ranges.size()] = found->second;
  return true;
}

std::string describe_near(std::uintptr_t address) {
  const std::shared_lock lock(ranges_mutex);
  const auto text = [](std::uintptr_t distance, const char *where, const Range &range) {
    return fmt::format("{} bytes {} the allocation [{:#x}, {:#x}) of {} bytes", distance, where, range.first, range.end,
                       range.end - range.first);
  };
  const auto before = below(address);
  if (before != ranges.end() && address < before->second.end) {
    return text(address - before->second.first, "into", before->second) + ", which ends too soon";
  }
  const auto after = ranges.upper_bound(address);
  const bool has_before = before != ranges.end();
  if (has_before && (after == ranges.end() || address - before->second.end <= after->second.first - address)) {
    return text(address - before->second.end, "past the end of", before->second);
  }
  return after == ranges.end() ? "and there is no allocation"
                               : text(after->second.first - address, "before", after->second);
}

} // namespace

void *allocate_global(std::size_t bytes) {
  if (bytes > SIZE_MAX - 2 * guard - allocation_alignment) {
    return nullptr;
  }
  const std::size_t rounded = (bytes + allocation_alignment - 1) / allocation_alignment * allocation_alignment;
  auto *host = static_cast<std::byte *>(std::aligned_alloc(allocation_alignment, rounded + 2 * guard));
  if (host == nullptr) {
    return nullptr;
  }
  std::byte *first = host + guard;
  std::memset(first, 0xff, rounded);
  const auto start = reinterpret_cast<std::uintptr_t>(first);
  const std::unique_lock lock(ranges_mutex);
  ranges[start] = {start, start + bytes};
  return first;
}

bool free_global(void *address) {
  {
    const std::unique_lock lock(ranges_mutex);
    if (ranges.erase(reinterpret_cast<std::uintptr_t>(address)) == 0) {
      return false;
    }
    ++frees;
  }
  std::free(static_cast<std::byte *>(address) - guard);
  return true;
}

bool is_global(const void *address, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(address);
  Cache &known = cache;
  if (known.frees == frees.load(std::memory_order_acquire)) {
    for (const Range &range : known.ranges) {
      if (range.holds(first, bytes) && range.first != 0) {
        return true;
      }
    }
  }
  return look_up(known, first, bytes);
}

void check_global(Thread &thread, const Instruction &instruction, const void *address, std::size_t bytes,
                  std::size_t alignment, bool write) {
  const auto first = reinterpret_cast<std::uintptr_t>(address);
  if (first % alignment == 0 && is_global(address, bytes)) {
    return;
  }
  fault(thread, instruction,
        first % alignment != 0
            ? fmt::format("Global memory {} at {:#x}: {} bytes need an address that is a multiple of {}",
                          write ? "written" : "read", first, bytes, alignment)
            : fmt::format("Global memory {} out of bounds: {} bytes at {:#x}, {}", write ? "written" : "read", bytes,
                          first, describe_near(first)));
}

} // namespace sale::emulator
