// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/state.hpp"

#include <atomic>

namespace sale::emulator {

std::size_t StateHolder::next_index() {
  static std::atomic<std::size_t> next = 0;
  return next++;
}

} // namespace sale::emulator
