// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/random.hpp"

#include <array>
#include <cstring>

namespace sale::conformance {

// FNV-1a.
Random::Random(std::string_view name) : state_(0xcbf29ce484222325U) {
  for (const char c : name) {
    state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
}

u64 Random::next() {
  u64 z = state_ += 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

float Random::real() { return static_cast<float>(static_cast<int>(bits()) >> 8) * 0x1p-23F; }

u32 Random::float_bits() {
  // +-0, the subnormals' ends, 1, the largest finite, infinity, NaNs.
  static constexpr std::array<u32, 10> specials = {0x00000000, 0x00000001, 0x007fffff, 0x00800000, 0x3f800000,
                                                   0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff};
  switch (below(8)) {
  case 0: return specials[below(specials.size())] | (bits() & 0x80000000U);
  case 1: return bits();
  case 2: { // Exponents of the range of e4m3, few mantissa bits: exact in most formats.
    return (bits() & 0x80000000U) | (static_cast<u32>(between(112, 140)) << 23) | (below(16) << 19);
  }
  case 3: { // At or one beside a tie of bf16 (16 bits cut off), f16 (13) or e4m3 (20).
    static constexpr std::array<u32, 3> cut = {16, 13, 20};
    const u32 bits_cut = cut[below(3)];
    const u32 half = 1U << (bits_cut - 1);
    const u32 top = (bits() & 0x80000000U) | (static_cast<u32>(between(100, 145)) << 23) | (bits() & 0x007fffffU);
    return ((top >> bits_cut) << bits_cut) + half + static_cast<u32>(between(-1, 1));
  }
  default: { // Ordinary values.
    return (bits() & 0x80000000U) | (static_cast<u32>(between(96, 158)) << 23) | (bits() & 0x007fffffU);
  }
  }
}

} // namespace sale::conformance
