// SPDX-License-Identifier: Apache-2.0
#include "reference/element.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sale::reference {

namespace {

constexpr std::uint32_t float_exponent = 0x7f800000U;

} // namespace

float bf16_to_float(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U); }

std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) {
    return static_cast<std::uint16_t>((bits >> 16U) | 0x40U); // a quiet NaN, even if the kept bits were all zero
  }
  const std::uint32_t ties_to_even = 0x7fffU + ((bits >> 16U) & 1U);
  return static_cast<std::uint16_t>((bits + ties_to_even) >> 16U);
}

float f16_to_float(std::uint16_t bits) {
  const float sign = (bits & 0x8000U) != 0 ? -1.0F : 1.0F;
  const int exponent = (bits >> 10U) & 0x1f;
  const int mantissa = bits & 0x3ff;
  if (exponent == 0x1f) {
    return std::bit_cast<float>((static_cast<std::uint32_t>(bits & 0x8000U) << 16U) | float_exponent |
                                (static_cast<std::uint32_t>(mantissa) << 13U));
  }
  return exponent == 0 ? sign * std::ldexp(static_cast<float>(mantissa), -24)
                       : sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

std::uint16_t float_to_f16(float value) {
  const auto sign = static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(value) >> 16U) & 0x8000U);
  if (std::isnan(value)) {
    return static_cast<std::uint16_t>(sign | 0x7e00U);
  }
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0F) { // halfway between 65504 and what would be 65536
    return static_cast<std::uint16_t>(sign | 0x7c00U);
  }
  // The unit in the last place is 2^(exponent - 10), but never below 2^-24.
  const int exponent = magnitude == 0.0F ? -14 : std::max(std::ilogb(magnitude), -14);
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  // 1024 units are the implicit bit; a carry to 2048 moves into the exponent by itself.
  return static_cast<std::uint16_t>(sign | (((exponent + 14) << 10) + units));
}

std::uint16_t float_to_f16_down(float value) {
  const std::uint16_t nearest = float_to_f16(value);
  if (!(f16_to_float(nearest) > value)) {
    return nearest;
  }
  // The next below: towards zero if positive, away from it if negative (0 cannot exceed a value that rounds to it).
  return static_cast<std::uint16_t>((nearest & 0x8000U) != 0 ? nearest + 1 : nearest - 1);
}

float element_to_float(std::uint16_t bits, DType dtype) {
  return dtype == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

std::uint16_t float_to_element(float value, DType dtype) {
  return dtype == DType::bf16 ? float_to_bf16(value) : float_to_f16(value);
}

std::vector<float> to_floats(const std::vector<std::uint16_t> &bits, DType dtype) {
  std::vector<float> values(bits.size());
  std::transform(bits.begin(), bits.end(), values.begin(), [=](auto x) { return element_to_float(x, dtype); });
  return values;
}

std::vector<std::uint16_t> to_elements(const std::vector<float> &values, DType dtype) {
  std::vector<std::uint16_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), [=](float x) { return float_to_element(x, dtype); });
  return bits;
}

float round_to_element(float value, DType dtype) { return element_to_float(float_to_element(value, dtype), dtype); }

} // namespace sale::reference
