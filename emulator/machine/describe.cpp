// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/describe.hpp"

#include <fmt/format.h>

#include <bit>

namespace sale::emulator {

std::string describe_lanes(u32 mask) {
  std::string text = std::popcount(mask) == 1 ? "lane " : "lanes ";
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1U) == 0) {
      continue;
    }
    int last = lane;
    while (last < 31 && (mask >> (last + 1) & 1U) != 0) {
      ++last;
    }
    text += first ? "" : ", ";
    text += last == lane ? fmt::format("{}", lane) : fmt::format("{}-{}", lane, last);
    first = false;
    lane = last;
  }
  return text;
}

std::string describe_cta(const Cta &cta) {
  const Dim3 block = cta.block_index();
  return fmt::format("CTA ({}, {}, {})", block.x, block.y, block.z);
}

std::string describe_thread(const Thread &thread) {
  return fmt::format("thread {} (warp {}, lane {}) of {}", thread.index(), thread.warp().index(), thread.lane(),
                     describe_cta(thread.cta()));
}

} // namespace sale::emulator
