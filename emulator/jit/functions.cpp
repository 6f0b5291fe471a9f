// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/functions.hpp"

#include <bit>
#include <cmath>
#include <limits>

using namespace sale::emulator;

namespace {

// The only NaN that arithmetic gives.
constexpr float canonical_nan = std::bit_cast<float>(0x7fffffffU);

struct Layout {
  int exponent_bits;
  int mantissa_bits;
  bool has_infinity;
  u32 nan;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  u32 sign() const { return 1U << (exponent_bits + mantissa_bits); }
  u32 infinity() const { return ((1U << exponent_bits) - 1) << mantissa_bits; }
  // e4m3 uses the topmost exponent too, but for its last code.
  u32 largest() const { return has_infinity ? infinity() - 1 : sign() - 2; }
};

Layout layout_of(FloatFormat format) {
  switch (format) {
  case FloatFormat::f16: return {5, 10, true, 0x7fff};
  case FloatFormat::bf16: return {8, 7, true, 0x7fff};
  case FloatFormat::e4m3: return {4, 3, false, 0x7f};
  case FloatFormat::e5m2: return {5, 2, true, 0x7f};
  case FloatFormat::tf32: return {8, 10, true, 0x3ffff};
  }
  return {};
}

// 2^exponent, normal; std::ldexp takes a tenth of the time of whole kernels.
double power_of_2(int exponent) { return std::bit_cast<double>(static_cast<u64>(exponent + 1023) << 52U); }

// Rounded down to an integer; -1023 stands for every subnormal number.
int log_2(double positive) { return static_cast<int>(std::bit_cast<u64>(positive) >> 52U) - 1023; }

double to_integral(double x, Rounding rounding) {
  switch (rounding) {
  case Rounding::nearest_even: return std::nearbyint(x);
  case Rounding::toward_zero: return std::trunc(x);
  case Rounding::down: return std::floor(x);
  case Rounding::up: return std::ceil(x);
  case Rounding::nearest_away: return std::round(x);
  }
  return x;
}

u32 narrow(double x, const Layout &layout, Rounding rounding, u32 clamps) {
  if ((clamps & clamp_unit) != 0) {
    x = std::isnan(x) ? 0 : std::fmin(std::fmax(x, 0.0), 1.0);
  }
  if (std::isnan(x)) {
    return layout.nan;
  }
  if ((clamps & clamp_relu) != 0 && std::signbit(x)) {
    x = 0;
  }
  const u32 sign = std::signbit(x) ? layout.sign() : 0;
  const double size = std::fabs(x);
  if (size == 0) {
    return sign;
  }
  const u32 beyond = (clamps & clamp_finite) != 0 ? layout.largest()
                     : layout.has_infinity        ? layout.infinity()
                                                  : layout.nan;
  if (std::isinf(size)) {
    return sign | beyond;
  }
  const int exponent = std::max(log_2(size), 1 - layout.bias());
  if (exponent > layout.bias() + 1) {
    return sign | (rounding == Rounding::toward_zero ? layout.largest() : beyond);
  }
  const double steps = to_integral(size * power_of_2(layout.mantissa_bits - exponent), rounding);
  const u32 code = (static_cast<u32>(exponent + layout.bias() - 1) << layout.mantissa_bits) + static_cast<u32>(steps);
  if (code > layout.largest()) {
    return sign | (rounding == Rounding::toward_zero ? layout.largest() : beyond);
  }
  if ((clamps & flush) != 0 && code < (1U << layout.mantissa_bits)) {
    return sign;
  }
  return sign | code;
}

double widen(u32 bits, const Layout &layout) {
  const u32 code = bits & (layout.sign() - 1);
  const double sign = (bits & layout.sign()) != 0 ? -1 : 1;
  if (layout.has_infinity ? code > layout.infinity() : code == layout.sign() - 1) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (layout.has_infinity && code == layout.infinity()) {
    return sign * std::numeric_limits<double>::infinity();
  }
  const int exponent = static_cast<int>(code >> layout.mantissa_bits);
  const u32 mantissa = code & ((1U << layout.mantissa_bits) - 1);
  const double steps = exponent == 0 ? mantissa : mantissa + (1U << layout.mantissa_bits);
  return sign * steps * power_of_2(std::max(exponent, 1) - layout.bias() - layout.mantissa_bits);
}

// a + b rounded to odd: rounding that once more, to a narrower format, is as if it had been rounded once.
double add_to_odd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) {
    return sum;
  }
  const double part = sum - a;
  const double error = (a - (sum - part)) + (b - part);
  const auto bits = std::bit_cast<u64>(sum);
  if (error == 0 || (bits & 1) != 0) {
    return sum;
  }
  return std::nextafter(sum,
                        error > 0 ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity());
}

template <class Float>
Float smaller(Float a, Float b) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::isnan(a) ? b : a;
  }
  return a == b ? (std::signbit(a) ? a : b) : std::fmin(a, b);
}

template <class Float>
Float larger(Float a, Float b) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::isnan(a) ? b : a;
  }
  return a == b ? (std::signbit(a) ? b : a) : std::fmax(a, b);
}

float canonical(float x) { return std::isnan(x) ? canonical_nan : x; }

double half(HalfOperation operation, double a, double b, double c) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const bool any_nan = std::isnan(a) || std::isnan(b);
  switch (operation) { // a product of two 16-bit floats is exact
  case HalfOperation::add: return add_to_odd(a, b);
  case HalfOperation::sub: return add_to_odd(a, -b);
  case HalfOperation::mul: return a * b;
  case HalfOperation::fma: return add_to_odd(a * b, c);
  case HalfOperation::min: return smaller(a, b);
  case HalfOperation::max: return larger(a, b);
  case HalfOperation::min_nan: return any_nan ? nan : smaller(a, b);
  case HalfOperation::max_nan: return any_nan ? nan : larger(a, b);
  case HalfOperation::ex2: return std::exp2(a);
  case HalfOperation::tanh: return std::tanh(a);
  }
  return nan;
}

} // namespace

float sale_emulator_ex2(float x) { return canonical(static_cast<float>(std::exp2(static_cast<double>(x)))); }
float sale_emulator_lg2(float x) { return canonical(static_cast<float>(std::log2(static_cast<double>(x)))); }
float sale_emulator_rcp(float x) { return canonical(1.0F / x); }
float sale_emulator_rsqrt(float x) { return canonical(static_cast<float>(1.0 / std::sqrt(static_cast<double>(x)))); }
float sale_emulator_tanh(float x) { return canonical(static_cast<float>(std::tanh(static_cast<double>(x)))); }

float sale_emulator_min(float a, float b) { return canonical(smaller(a, b)); }
float sale_emulator_max(float a, float b) { return canonical(larger(a, b)); }
float sale_emulator_min_nan(float a, float b) { return std::isnan(a) || std::isnan(b) ? canonical_nan : smaller(a, b); }
float sale_emulator_max_nan(float a, float b) { return std::isnan(a) || std::isnan(b) ? canonical_nan : larger(a, b); }

u64 sale_emulator_to_integer(double x, Rounding rounding, u32 width, bool is_signed) {
  if (std::isnan(x)) {
    return width == 64 ? u64{1} << 63 : 0;
  }
  const double limit = std::ldexp(1.0, static_cast<int>(width) - (is_signed ? 1 : 0)); // one more than the largest
  const u64 mask = width == 64 ? ~u64{0} : (u64{1} << width) - 1;
  const double rounded = to_integral(x, rounding);
  if (rounded >= limit) {
    return is_signed ? mask >> 1 : mask;
  }
  if (is_signed) {
    return static_cast<u64>(static_cast<std::int64_t>(std::fmax(rounded, -limit))) & mask;
  }
  return static_cast<u64>(std::fmax(rounded, 0.0));
}

double sale_emulator_round_to_integral(double x, Rounding rounding) { return to_integral(x, rounding); }

u32 sale_emulator_narrow(double x, FloatFormat format, Rounding rounding, u32 clamps) {
  if (format == FloatFormat::tf32) { // the upper bits of an f32
    return std::isnan(x) ? 0x7fffffffU : narrow(x, layout_of(format), rounding, clamps) << 13;
  }
  return narrow(x, layout_of(format), rounding, clamps);
}

float sale_emulator_widen(u32 bits, FloatFormat format) {
  return canonical(static_cast<float>(widen(bits, layout_of(format))));
}

u32 sale_emulator_half(HalfOperation operation, FloatFormat format, u32 clamps, u32 a, u32 b, u32 c) {
  const Layout layout = layout_of(format);
  const auto operand = [&](u32 bits, u32 shift) {
    const double x = widen((bits >> shift) & 0xffffU, layout);
    const bool subnormal = (bits >> shift & layout.infinity()) == 0;
    return (clamps & flush) != 0 && subnormal ? std::copysign(0.0, x) : x;
  };
  u32 result = 0;
  for (u32 shift = 0; shift < 32; shift += 16) {
    const double x = half(operation, operand(a, shift), operand(b, shift), operand(c, shift));
    result |= narrow(x, layout, Rounding::nearest_even, clamps) << shift;
  }
  return result;
}

u32 sale_emulator_prmt(u32 a, u32 b, u32 selector) {
  const u64 bytes = u64{b} << 32 | a;
  u32 result = 0;
  for (u32 i = 0; i < 4; ++i) {
    const u32 select = selector >> (4 * i) & 0xfU;
    u32 byte = static_cast<u32>(bytes >> (8 * (select & 7U))) & 0xffU;
    if ((select & 8U) != 0) {
      byte = (byte & 0x80U) != 0 ? 0xffU : 0; // the sign, eight times
    }
    result |= byte << (8 * i);
  }
  return result;
}

u64 sale_emulator_bfe(u64 a, u32 position, u32 length, u32 width, bool is_signed) {
  position &= 0xffU;
  length &= 0xffU;
  const bool sign = is_signed && length != 0 && (a >> std::min(position + length - 1, width - 1) & 1) != 0;
  u64 result = 0;
  for (u32 i = 0; i < width; ++i) {
    const bool bit = i < length && position + i < width ? (a >> (position + i) & 1) != 0 : sign;
    result |= u64{bit} << i;
  }
  return result;
}

u64 sale_emulator_bfi(u64 a, u64 b, u32 position, u32 length, u32 width) {
  position &= 0xffU;
  length &= 0xffU;
  for (u32 i = 0; i < length && position + i < width; ++i) {
    const u64 bit = u64{1} << (position + i);
    b = (a >> i & 1) != 0 ? b | bit : b & ~bit;
  }
  return b;
}

u32 sale_emulator_dp4a(u32 a, u32 b, u32 c, bool a_signed, bool b_signed) {
  const auto byte = [](u32 word, u32 i, bool is_signed) {
    const u32 bits = word >> (8 * i) & 0xffU;
    return is_signed ? static_cast<u32>(static_cast<s32>(static_cast<signed char>(bits))) : bits;
  };
  for (u32 i = 0; i < 4; ++i) {
    c += byte(a, i, a_signed) * byte(b, i, b_signed);
  }
  return c;
}
