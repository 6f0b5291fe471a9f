// SPDX-License-Identifier: Apache-2.0
// The float formats of reference/element.hpp and reference/float8.hpp again, inline and without branches, for the
// innermost loops. Results equal those, but NaN is the one that the hardware gives.
#pragma once

#include "emulator/ptx/instruction.hpp"

#include <bit>
#include <cmath>

namespace sale::emulator {

inline float bf16_bits_to_float(u32 bits) { return std::bit_cast<float>(bits << 16U); }

inline float f16_bits_to_float(u32 bits) {
  const u32 magnitude = (bits & 0x7fffU) << 13U; // exponent 112 too small
  const u32 scaled = std::bit_cast<u32>(std::bit_cast<float>(magnitude) * 0x1p112F);
  const u32 special = magnitude | 0x7f800000U;
  return std::bit_cast<float>((magnitude >= 0x0f800000U ? special : scaled) | ((bits & 0x8000U) << 16U));
}

/// Nearest, ties to even; a NaN becomes 0x7fff with its sign.
inline u16 float_to_f16_bits(float value) {
  const u32 bits = std::bit_cast<u32>(value);
  const u32 sign = (bits >> 16U) & 0x8000U;
  const u32 magnitude = bits & 0x7fffffffU;
  u32 result = 0;
  if (magnitude > 0x7f800000U) {
    result = 0x7fffU;
  } else if (magnitude >= 0x477ff000U) { // 65520, halfway to what would be 65536
    result = 0x7c00U;
  } else if (magnitude < 0x38800000U) { // below 2^-14 the unit is 2^-24, as it is of 0.5F
    result = std::bit_cast<u32>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
  } else {
    result = (magnitude - (112U << 23U) + 0xfffU + ((magnitude >> 13U) & 1U)) >> 13U;
  }
  return static_cast<u16>(sign | result);
}

/// fp32 to bf16: nearest, ties to even; a NaN becomes 0x7fff.
inline u16 float_to_bf16_bits(float value) {
  const u32 bits = std::bit_cast<u32>(value);
  const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
  return static_cast<u16>(nan ? 0x7fffU : (bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

// Sums of tensor cores: rounded once to nearest, ties to even; a NaN is 0x7fffffff (f16: 0x7fff).

inline u32 sum_to_f32_bits(double sum) {
  return std::isnan(sum) ? 0x7fffffffU : std::bit_cast<u32>(static_cast<float>(sum));
}

inline u16 sum_to_f16_bits(double sum) {
  if (std::isnan(sum)) {
    return 0x7fff;
  }
  const auto near = static_cast<float>(sum);
  const auto wide = static_cast<double>(near);
  u32 bits = std::bit_cast<u32>(near);
  if (wide != sum && std::isfinite(near)) { // to odd instead: the float's last bit keeps what was lost
    bits = (bits - (std::fabs(wide) > std::fabs(sum) ? 1U : 0U)) | 1U;
  }
  return float_to_f16_bits(std::bit_cast<float>(bits));
}

} // namespace sale::emulator
