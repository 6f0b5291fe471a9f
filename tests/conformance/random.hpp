// SPDX-License-Identifier: Apache-2.0
// The same numbers on every machine: splitmix64, and floats that are likely to show a wrong rounding or special case.
#pragma once

#include <cstdint>
#include <string_view>

namespace sale::conformance {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

class Random {
public:
  /// Seeded by the case's name, so that adding a case changes no other.
  explicit Random(std::string_view name);

  u64 next();
  u32 bits() { return static_cast<u32>(next() >> 32); }
  /// Below `bound`.
  u32 below(u32 bound) { return static_cast<u32>((static_cast<u64>(bits()) * bound) >> 32); }
  /// low to high, both included.
  int between(int low, int high) { return low + static_cast<int>(below(static_cast<u32>(high - low + 1))); }
  /// In [-1, 1).
  float real();
  /// Bits of a float: specials, any bits, short mantissas, values next to ties of the narrower formats.
  u32 float_bits();

private:
  u64 state_;
};

} // namespace sale::conformance
