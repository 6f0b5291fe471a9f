// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/stacks.hpp"

#include <sys/mman.h>

#include <mutex>

namespace sale::emulator {

namespace {

constexpr std::size_t guard = 4096;
constexpr std::size_t stride = Stacks::bytes + guard; // the guard page is the lowest: an overflow stops there
constexpr std::size_t per_chunk = 32;

std::mutex pool_mutex;
std::vector<std::unique_ptr<Stacks>> pool;

} // namespace

Stacks::~Stacks() {
  for (std::byte *chunk : chunks_) {
    munmap(chunk, per_chunk * stride);
  }
}

bool Stacks::reserve(std::size_t count) {
  while (chunks_.size() * per_chunk < count) {
    void *mapped =
        mmap(nullptr, per_chunk * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
      return false;
    }
    auto *chunk = static_cast<std::byte *>(mapped);
    chunks_.push_back(chunk);
    for (std::size_t i = 0; i < per_chunk; ++i) {
      if (mprotect(chunk + i * stride, guard, PROT_NONE) != 0) {
        return false;
      }
    }
  }
  return true;
}

void *Stacks::top(std::size_t index) const {
  // Lanes run the same frames: staggered, they don't all fall into the same sets of the cache.
  const std::size_t stagger = index * 5 % 64 * 64;
  return chunks_[index / per_chunk] + (index % per_chunk + 1) * stride - stagger;
}

bool Stacks::contains(std::size_t index, const void *address, std::size_t size) const {
  const std::byte *end = chunks_[index / per_chunk] + (index % per_chunk + 1) * stride;
  const auto *first = static_cast<const std::byte *>(address);
  return first >= end - bytes && first <= end && size <= static_cast<std::size_t>(end - first);
}

std::unique_ptr<Stacks> Stacks::take() {
  const std::lock_guard lock(pool_mutex);
  if (pool.empty()) {
    return std::make_unique<Stacks>();
  }
  std::unique_ptr<Stacks> stacks = std::move(pool.back());
  pool.pop_back();
  return stacks;
}

void Stacks::give_back(std::unique_ptr<Stacks> stacks) {
  const std::lock_guard lock(pool_mutex);
  pool.push_back(std::move(stacks));
}

} // namespace sale::emulator
