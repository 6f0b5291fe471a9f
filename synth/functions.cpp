// SPDX-License-Identifier: Apache-2.0
#include "synth/functions.hpp"

#include <bit>
#include <cmath>
#include <numbers>

namespace sale::synth {

double power_of_two(double x) {
  const double whole = std::floor(x);
  const double t = (x - whole) * std::numbers::ln2;
  double sum = 1.0; // Horner's form of the exponential series
  for (int n = 17; n >= 1; --n) {
    sum = 1.0 + t / n * sum;
  }
  return std::ldexp(sum, static_cast<int>(whole));
}

Phase phase_step(double wavelength) { return static_cast<Phase>(0x1p64 / wavelength); }

Rotation rotation(Phase phase) {
  // The nearest quarter of a turn, and what is left: within an eighth.
  const Phase shifted = phase + (Phase{1} << 61U);
  const auto quarter = static_cast<unsigned>(shifted >> 62U);
  const auto left = std::bit_cast<std::int64_t>(phase - (static_cast<Phase>(quarter) << 62U));
  const double x = static_cast<double>(left) * (2.0 * std::numbers::pi * 0x1p-64);
  const double y = x * x;
  const double sine = x * (1.0 + y * (-1.0 / 6 + y * (1.0 / 120 + y * (-1.0 / 5040 + y * (1.0 / 362880)))));
  const double cosine = 1.0 + y * (-1.0 / 2 + y * (1.0 / 24 + y * (-1.0 / 720 + y * (1.0 / 40320))));
  const auto s = static_cast<float>(quarter % 2 == 0 ? sine : cosine);
  const auto c = static_cast<float>(quarter % 2 == 0 ? cosine : sine);
  return {quarter == 1 || quarter == 2 ? -c : c, quarter >= 2 ? -s : s};
}

} // namespace sale::synth
