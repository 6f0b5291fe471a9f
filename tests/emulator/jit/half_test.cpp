// SPDX-License-Identifier: Apache-2.0
// The 16-bit and 8-bit floats, beside reference/'s own conversions.
#include "tests/emulator/jit/harness.hpp"

#include "reference/element.hpp"
#include "reference/float8.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sale::emulator {
namespace {

struct Format {
  float (*widen)(std::uint16_t);
  std::uint16_t (*narrow)(float);
};

constexpr Format bf16{reference::bf16_to_float, reference::float_to_bf16};
constexpr Format f16{reference::f16_to_float, reference::float_to_f16};

u64 narrow(const Format &format, float x) { return std::isnan(x) ? 0x7fff : format.narrow(x); }

// Both lanes of a pair.
template <class F>
auto pairs(const Format &format, const F &f) {
  return [=](u64 a, u64 b, u64 c) {
    u64 result = 0;
    for (int shift = 0; shift < 32; shift += 16) {
      const auto lane = [&](u64 x) { return format.widen(static_cast<std::uint16_t>(x >> shift)); };
      result |= narrow(format, f(lane(a), lane(b), lane(c))) << shift;
    }
    return result;
  };
}

float maximum(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::isnan(a) ? b : a;
  }
  return a > b || (a == b && !std::signbit(a)) ? a : b;
}

// Sums and products of two 16-bit floats round the same by way of an f32, subnormal products of bf16 aside.
TEST(Halves, ArithmeticOnPairs) {
  const auto add = [](float a, float b, float) { return a + b; };
  const auto sub = [](float a, float b, float) { return a - b; };
  const auto mul = [](float a, float b, float) { return a * b; };
  const auto max = [](float a, float b, float) { return maximum(a, b); };
  const auto max_nan = [](float a, float b, float) {
    return std::isnan(a + 0 * b) && (std::isnan(a) || std::isnan(b)) ? NAN : maximum(a, b);
  };
  check_operations({
      {"add.rn.bf16x2 %0, %1, %2;", "rrr", pairs(bf16, add)},
      {"add.f16x2 %0, %1, %2;", "rrr", pairs(f16, add)},
      {"sub.f16x2 %0, %1, %2;", "rrr", pairs(f16, sub)},
      {"mul.rn.f16x2 %0, %1, %2;", "rrr", pairs(f16, mul)},
      {"max.bf16x2 %0, %1, %2;", "rrr", pairs(bf16, max)},
      {"max.f16x2 %0, %1, %2;", "rrr", pairs(f16, max)},
      {"max.NaN.f16x2 %0, %1, %2;", "rrr", pairs(f16, max_nan)},
      {"min.bf16x2 %0, %1, %2;", "rrr", pairs(bf16, [](float a, float b, float) { return -maximum(-a, -b); })},
      {"fma.rn.relu.f16x2 %0, %1, %2, %3;", "rrrr",
       pairs(f16,
             [](float a, float b, float c) {
               const long double exact = static_cast<long double>(a) * b + c; // 64 bits hold it, but for a sticky rest
               const float rounded = static_cast<float>(exact);
               return rounded < 0 || (rounded == 0 && std::signbit(rounded)) ? 0.0F : rounded;
             })},
      {"neg.bf16x2 %0, %1;", "rr", [](u64 a, u64, u64) { return a ^ 0x80008000U; }},
      {"abs.f16x2 %0, %1;", "rr", [](u64 a, u64, u64) { return a & 0x7fff7fffU; }},
      {"ex2.approx.f16x2 %0, %1;", "rr", pairs(f16, [](float a, float, float) { return std::exp2(a); })},
      {"tanh.approx.bf16x2 %0, %1;", "rr", pairs(bf16, [](float a, float, float) { return std::tanh(a); })},
      {"add.f16 %0, %1, %2;", "hhh",
       [](u64 a, u64 b, u64) {
         return narrow(f16, f16.widen(static_cast<std::uint16_t>(a)) + f16.widen(static_cast<std::uint16_t>(b)));
       }},
  });
}

TEST(Halves, ConversionsOfPairs) {
  const auto both = [](const Format &format, u64 high, u64 low) {
    return narrow(format, as_float(high)) << 16 | narrow(format, as_float(low));
  };
  check_operations({
      {"cvt.rn.bf16x2.f32 %0, %1, %2;", "rff", [=](u64 a, u64 b, u64) { return both(bf16, a, b); }},
      {"cvt.rn.f16x2.f32 %0, %1, %2;", "rff", [=](u64 a, u64 b, u64) { return both(f16, a, b); }},
      {"cvt.rn.bf16.f32 %0, %1;", "hf", [](u64 a, u64, u64) { return narrow(bf16, as_float(a)); }},
      {"cvt.rz.bf16.f32 %0, %1;", "hf", [](u64 a, u64, u64) { return std::isnan(as_float(a)) ? 0x7fff : a >> 16; }},
      {"cvt.rn.relu.bf16.f32 %0, %1;", "hf",
       [](u64 a, u64, u64) {
         return std::signbit(as_float(a)) && !std::isnan(as_float(a)) ? 0 : narrow(bf16, as_float(a));
       }},
      {"cvt.f32.f16 %0, %1;", "fh", [](u64 a, u64, u64) { return bits_of(f16.widen(static_cast<std::uint16_t>(a))); }},
      {"cvt.f32.bf16 %0, %1;", "fh",
       [](u64 a, u64, u64) { return bits_of(bf16.widen(static_cast<std::uint16_t>(a))); }},
      {"cvt.rn.f16.s32 %0, %1;", "hr",
       [](u64 a, u64, u64) { return narrow(f16, static_cast<float>(static_cast<s32>(a))); }},
      {"cvt.rna.tf32.f32 %0, %1;", "rf",
       [](u64 a, u64, u64) { return u64{std::bit_cast<u32>(reference::round_to_tf32_ties_away(as_float(a)))}; }},
  });
}

TEST(Halves, EightBitFloats) {
  const auto e4m3 = [](u64 x) { return u64{reference::float_to_e4m3(as_float(x))}; };
  const auto e5m2 = [](u64 x) { return u64{reference::float_to_e5m2(as_float(x))}; };
  const auto widened = [](u64 code) { return narrow(f16, reference::e4m3_to_float(static_cast<std::uint8_t>(code))); };
  check_operations({
      {"cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;", "hff", [=](u64 a, u64 b, u64) { return e4m3(a) << 8 | e4m3(b); }},
      {"cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;", "hff", [=](u64 a, u64 b, u64) { return e5m2(a) << 8 | e5m2(b); }},
      {"cvt.rn.f16x2.e4m3x2 %0, %1;", "rh", [=](u64 a, u64, u64) { return widened(a >> 8) << 16 | widened(a & 0xff); }},
      {"cvt.rn.satfinite.e4m3x2.f16x2 %0, %1;", "hr",
       [=](u64 a, u64, u64) {
         const auto lane = [&](u64 x) {
           return u64{reference::float_to_e4m3(f16.widen(static_cast<std::uint16_t>(x)))};
         };
         return lane(a >> 16) << 8 | lane(a);
       }},
  });
}

} // namespace
} // namespace sale::emulator
