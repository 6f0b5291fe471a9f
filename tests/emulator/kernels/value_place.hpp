// SPDX-License-Identifier: Apache-2.0
// Where the code of a key and a channel of V lies within its block (templates/values/values.cuh), written down
// differently.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace sale::test {

/// key: within the block. keys[i] is the key of byte i.
inline std::size_t value_place(int key, int channel) {
  static constexpr int keys[32] = {0,  1,  8,  9,  2,  3,  10, 11, 4,  5,  12, 13, 6,  7,  14, 15,
                                   16, 17, 24, 25, 18, 19, 26, 27, 20, 21, 28, 29, 22, 23, 30, 31};
  const auto byte = static_cast<std::size_t>(std::find(std::begin(keys), std::end(keys), key) - std::begin(keys));
  const auto row = static_cast<std::size_t>(channel);
  return row * 32 + (byte ^ (row / 4 % 2 * 16));
}

} // namespace sale::test
