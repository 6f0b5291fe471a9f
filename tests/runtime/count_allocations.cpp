// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/count_allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> count{0};

} // namespace

namespace sale {

long allocations() { return count; }

} // namespace sale

void *operator new(std::size_t bytes) {
  ++count;
  if (void *memory = std::malloc(bytes)) {
    return memory;
  }
  throw std::bad_alloc();
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
