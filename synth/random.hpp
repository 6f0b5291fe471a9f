// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: the i-th of a stream depends on its key and i alone, so order and threads do not
// matter. Integers and one exact multiplication: the same bits on every machine.
#pragma once

#include <cstdint>

namespace sale::synth {

class Random {
public:
  constexpr explicit Random(std::uint64_t key) : key_(key) {}

  /// An independent stream.
  constexpr Random child(std::uint64_t tag) const { return Random(mix(key_ ^ mix(tag + step))); }

  constexpr std::uint64_t bits(std::uint64_t i) const { return mix(key_ + (i + 1) * step); }
  /// In [0, 1), a multiple of 2^-53.
  constexpr double uniform(std::uint64_t i) const { return static_cast<double>(bits(i) >> 11U) * 0x1p-53; }
  constexpr double uniform(std::uint64_t i, double low, double high) const { return low + (high - low) * uniform(i); }
  /// In [0, n); n < 2^32.
  constexpr std::uint32_t below(std::uint64_t i, std::uint64_t n) const {
    return static_cast<std::uint32_t>((bits(i) >> 32U) * n >> 32U);
  }
  /// Mean 0, deviation 1, almost normal: the sum of four 16-bit uniforms, so never beyond 3.47.
  constexpr float normal(std::uint64_t i) const {
    const std::uint64_t b = bits(i);
    const auto sum =
        static_cast<std::int32_t>((b & 0xffffU) + ((b >> 16U) & 0xffffU) + ((b >> 32U) & 0xffffU) + (b >> 48U));
    return static_cast<float>(sum - 131070) * 2.6429e-5F; // 1 / sqrt((2^32 - 1) / 3)
  }

private:
  static constexpr std::uint64_t step = 0x9e3779b97f4a7c15U;
  // The finalizer of SplitMix64.
  static constexpr std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31U);
  }

  std::uint64_t key_;
};

} // namespace sale::synth
