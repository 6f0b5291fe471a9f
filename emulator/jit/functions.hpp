// SPDX-License-Identifier: Apache-2.0
// Arithmetic of PTX that one instruction of this machine does not do: what compiled kernels call (PTX ISA, "Floating
// Point Instructions", "Half Precision", "Data Movement and Conversion").
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

enum class FloatFormat : u32 { f16, bf16, e4m3, e5m2, tf32 };

enum class Rounding : u32 {
  nearest_even,
  toward_zero,
  down,
  up,
  nearest_away, ///< Ties away from zero (.rna).
};

/// How a result is clamped; sums of these.
enum Clamp : u32 {
  clamp_none = 0,
  clamp_finite = 1, ///< .satfinite
  clamp_relu = 2,   ///< .relu: negative gives 0
  clamp_unit = 4,   ///< .sat: to [0, 1], NaN gives 0
  flush = 8,        ///< .ftz
};

enum class HalfOperation : u32 { add, sub, mul, fma, min, max, min_nan, max_nan, ex2, tanh };

} // namespace sale::emulator

extern "C" {
float sale_emulator_ex2(float x);
float sale_emulator_lg2(float x);
float sale_emulator_rcp(float x);
float sale_emulator_rsqrt(float x);
float sale_emulator_tanh(float x);

/// The other operand when one is NaN; -0 < +0.
float sale_emulator_min(float a, float b);
float sale_emulator_max(float a, float b);
/// NaN when one is.
float sale_emulator_min_nan(float a, float b);
float sale_emulator_max_nan(float a, float b);

/// The nearest integer of `width` bits; NaN gives 0, or 2^63 for 64 bits.
std::uint64_t sale_emulator_to_integer(double x, sale::emulator::Rounding rounding, std::uint32_t width,
                                       bool is_signed);
double sale_emulator_round_to_integral(double x, sale::emulator::Rounding rounding);

/// To and from a format below f32; `clamps` is a sum of Clamp.
std::uint32_t sale_emulator_narrow(double x, sale::emulator::FloatFormat format, sale::emulator::Rounding rounding,
                                   std::uint32_t clamps);
float sale_emulator_widen(std::uint32_t bits, sale::emulator::FloatFormat format);

/// Two 16-bit floats in each word, each result rounded once.
std::uint32_t sale_emulator_half(sale::emulator::HalfOperation operation, sale::emulator::FloatFormat format,
                                 std::uint32_t clamps, std::uint32_t a, std::uint32_t b, std::uint32_t c);

std::uint32_t sale_emulator_prmt(std::uint32_t a, std::uint32_t b, std::uint32_t selector);
std::uint64_t sale_emulator_bfe(std::uint64_t a, std::uint32_t position, std::uint32_t length, std::uint32_t width,
                                bool is_signed);
std::uint64_t sale_emulator_bfi(std::uint64_t a, std::uint64_t b, std::uint32_t position, std::uint32_t length,
                                std::uint32_t width);
/// Four products of bytes, summed onto c.
std::uint32_t sale_emulator_dp4a(std::uint32_t a, std::uint32_t b, std::uint32_t c, bool a_signed, bool b_signed);
}
