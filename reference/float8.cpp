// SPDX-License-Identifier: Apache-2.0
#include "reference/float8.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace sale::reference {

namespace {

/// A float of 8 bits: sign, exponent, mantissa.
struct Format {
  int mantissa_bits;
  int bias;
  float greatest;
  std::uint8_t greatest_code;
};

constexpr Format e4m3{.mantissa_bits = 3, .bias = 7, .greatest = 448.0F, .greatest_code = 0x7e};
constexpr Format e5m2{.mantissa_bits = 2, .bias = 15, .greatest = 57344.0F, .greatest_code = 0x7b};
constexpr std::uint8_t nan_code = 0x7f;

float finite_value(std::uint8_t bits, const Format &format) {
  const int exponent = (bits & 0x7f) >> format.mantissa_bits;
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const int implicit = exponent == 0 ? 0 : 1 << format.mantissa_bits;
  const float magnitude =
      std::ldexp(static_cast<float>(implicit + mantissa), std::max(exponent, 1) - format.bias - format.mantissa_bits);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

std::uint8_t encode(float value, const Format &format) {
  if (std::isnan(value)) {
    return nan_code;
  }
  const int sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fabs(value);
  if (magnitude >= format.greatest) {
    return static_cast<std::uint8_t>(sign | format.greatest_code);
  }
  // As float_to_f16: units in the last place, whose carry moves into the exponent by itself.
  const int exponent = magnitude == 0.0F ? 1 - format.bias : std::max(std::ilogb(magnitude), 1 - format.bias);
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, format.mantissa_bits - exponent)));
  const int code = ((exponent + format.bias - 1) << format.mantissa_bits) + units;
  return static_cast<std::uint8_t>(sign | std::min<int>(code, format.greatest_code));
}

template <class Decode>
std::array<float, 256> all_values(const Decode &decode) {
  std::array<float, 256> values{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = decode(static_cast<std::uint8_t>(i));
  }
  return values;
}

constexpr std::uint32_t dropped_bits = 0x1fffU; ///< Of a float's mantissa, in tf32.

float round_bits(float value, std::uint32_t increment) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) {
    return std::bit_cast<float>(0x7fffffffU);
  }
  return std::bit_cast<float>(std::isinf(value) ? bits : (bits + increment) & ~dropped_bits);
}

} // namespace

float e4m3_to_float(std::uint8_t bits) {
  return (bits & 0x7f) == 0x7f ? std::numeric_limits<float>::quiet_NaN() : finite_value(bits, e4m3);
}

float e5m2_to_float(std::uint8_t bits) {
  if ((bits & 0x7f) > 0x7c) {
    return std::numeric_limits<float>::quiet_NaN();
  }
  if ((bits & 0x7f) == 0x7c) {
    return (bits & 0x80) != 0 ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::infinity();
  }
  return finite_value(bits, e5m2);
}

std::uint8_t float_to_e4m3(float value) { return encode(value, e4m3); }
std::uint8_t float_to_e5m2(float value) { return encode(value, e5m2); }

float round_to_tf32_ties_away(float value) { return round_bits(value, 0x1000U); }

float round_to_tf32(float value) {
  return round_bits(value, 0xfffU + ((std::bit_cast<std::uint32_t>(value) >> 13U) & 1U));
}

const std::array<float, 256> &e4m3_values() {
  static const std::array<float, 256> values = all_values(e4m3_to_float);
  return values;
}

const std::array<float, 256> &e5m2_values() {
  static const std::array<float, 256> values = all_values(e5m2_to_float);
  return values;
}

} // namespace sale::reference
