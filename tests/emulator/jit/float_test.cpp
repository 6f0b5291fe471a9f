// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/jit/harness.hpp"

#include <cmath>
#include <limits>

namespace sale::emulator {
namespace {

// Of one f32 function of one or two operands.
template <class F>
auto of(const F &f) {
  return [f](u64 a, u64 b, u64) { return bits_of(f(as_float(a), as_float(b))); };
}

float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0F, x) : x; }

float maximum(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::isnan(a) ? b : a;
  }
  return a > b || (a == b && !std::signbit(a)) ? a : b;
}
float minimum(float a, float b) { return -maximum(-a, -b); }
float unit(float x) { return x > 0 ? (x < 1 ? x : 1.0F) : 0.0F; }

TEST(Floats, ArithmeticRoundsToNearest) {
  check_operations({
      {"add.f32 %0, %1, %2;", "fff", of([](float a, float b) { return a + b; })},
      {"add.rn.f32 %0, %1, %2;", "fff", of([](float a, float b) { return a + b; })},
      {"add.ftz.f32 %0, %1, %2;", "fff", of([](float a, float b) { return flush(flush(a) + flush(b)); })},
      {"sub.rn.f32 %0, %1, %2;", "fff", of([](float a, float b) { return a - b; })},
      {"mul.rn.f32 %0, %1, %2;", "fff", of([](float a, float b) { return a * b; })},
      {"mul.rn.ftz.sat.f32 %0, %1, %2;", "fff", of([](float a, float b) { return unit(flush(flush(a) * flush(b))); })},
      {"add.sat.f32 %0, %1, %2;", "fff", of([](float a, float b) { return unit(a + b); })},
      {"div.rn.f32 %0, %1, %2;", "fff", of([](float a, float b) { return a / b; })},
      {"add.f32 %0, %1, 0f3F800000;", "ff", of([](float a, float) { return a + 1; })},
      {"mul.f32 %0, %1, 0.5;", "ff", of([](float a, float) { return a * 0.5F; })},
      {"fma.rn.f32 %0, %1, %2, %3;", "ffff",
       [](u64 a, u64 b, u64 c) { return bits_of(std::fma(as_float(a), as_float(b), as_float(c))); }},
      {"sqrt.rn.f32 %0, %1;", "ff", of([](float a, float) { return std::sqrt(a); })},
      {"rcp.rn.f32 %0, %1;", "ff", of([](float a, float) { return 1.0F / a; })},
      {"neg.f32 %0, %1;", "ff", [](u64 a, u64, u64) { return a ^ 0x80000000U; }},
      {"abs.f32 %0, %1;", "ff", [](u64 a, u64, u64) { return a & 0x7fffffffU; }},
      {"{ .reg .f64 t; add.f64 t, %1, %2; cvt.rn.f32.f64 %0, t; }", "fdd",
       [](u64 a, u64 b, u64) { return bits_of(static_cast<float>(as_double(a) + as_double(b))); }},
      {"{ .reg .b64 x, y; mov.b64 x, {%1, %2}; mul.f32x2 y, x, x; mov.b64 {_, %0}, y; }", "fff",
       of([](float, float b) { return b * b; })},
  });
}

TEST(Floats, MinimaAndMaximaOrderZerosAndNan) {
  check_operations({
      {"max.f32 %0, %1, %2;", "fff", of(maximum)},
      {"min.f32 %0, %1, %2;", "fff", of(minimum)},
      {"max.ftz.f32 %0, %1, %2;", "fff", of([](float a, float b) { return maximum(flush(a), flush(b)); })},
      {"max.NaN.f32 %0, %1, %2;", "fff", of([](float a, float b) {
         return std::isnan(a) ? a : std::isnan(b) ? b : maximum(a, b);
       })},
      {"min.NaN.f32 %0, %1, %2;", "fff", of([](float a, float b) {
         return std::isnan(a) ? a : std::isnan(b) ? b : minimum(a, b);
       })},
  });
}

TEST(Floats, ApproximationsAreTheNearestFloats) {
  const auto rounded = [](double (*f)(double)) {
    return of([f](float a, float) { return static_cast<float>(f(static_cast<double>(a))); });
  };
  check_operations({
      {"ex2.approx.f32 %0, %1;", "ff", rounded(std::exp2)},
      {"ex2.approx.ftz.f32 %0, %1;", "ff",
       of([](float a, float) { return flush(static_cast<float>(std::exp2(static_cast<double>(flush(a))))); })},
      {"lg2.approx.f32 %0, %1;", "ff", rounded(std::log2)},
      {"tanh.approx.f32 %0, %1;", "ff", rounded(std::tanh)},
      {"rsqrt.approx.f32 %0, %1;", "ff", rounded([](double x) { return 1 / std::sqrt(x); })},
      {"rcp.approx.ftz.f32 %0, %1;", "ff", of([](float a, float) { return flush(1.0F / flush(a)); })},
  });
}

TEST(Floats, Comparisons) {
  const auto set = [](const char *compare) {
    return std::string("{ .reg .pred p; setp.") + compare + ".f32 p, %1, %2; selp.u32 %0, 1, 0, p; }";
  };
  const auto is = [](bool (*f)(float, float)) {
    return [f](u64 a, u64 b, u64) { return u64{f(as_float(a), as_float(b))}; };
  };
  check_operations({
      {set("eq"), "rff", is([](float a, float b) { return a == b; })},
      {set("ne"), "rff", is([](float a, float b) { return a < b || a > b; })},
      {set("lt"), "rff", is([](float a, float b) { return a < b; })},
      {set("le"), "rff", is([](float a, float b) { return a <= b; })},
      {set("gt"), "rff", is([](float a, float b) { return a > b; })},
      {set("ge"), "rff", is([](float a, float b) { return a >= b; })},
      {set("equ"), "rff", is([](float a, float b) { return !(a < b || a > b); })},
      {set("neu"), "rff", is([](float a, float b) { return a != b; })},
      {set("ltu"), "rff", is([](float a, float b) { return !(a >= b); })},
      {set("leu"), "rff", is([](float a, float b) { return !(a > b); })},
      {set("gtu"), "rff", is([](float a, float b) { return !(a <= b); })},
      {set("geu"), "rff", is([](float a, float b) { return !(a < b); })},
      {set("num"), "rff", is([](float a, float b) { return !std::isnan(a) && !std::isnan(b); })},
      {set("nan"), "rff", is([](float a, float b) { return std::isnan(a) || std::isnan(b); })},
      {set("lt.ftz"), "rff", is([](float a, float b) { return flush(a) < flush(b); })},
  });
}

// Saturating; NaN gives 0.
template <class Integer>
u64 convert(double x, double (*round)(double)) {
  if (std::isnan(x)) {
    return sizeof(Integer) == 8 ? u64{1} << 63 : 0;
  }
  const double rounded = round(x);
  constexpr auto low = std::numeric_limits<Integer>::min();
  constexpr auto high = std::numeric_limits<Integer>::max();
  if (rounded <= static_cast<double>(low)) {
    return static_cast<u64>(low);
  }
  return static_cast<u64>(rounded >= static_cast<double>(high) ? high : static_cast<Integer>(rounded));
}

TEST(Floats, ConversionsToIntegersSaturate) {
  const auto to = [](u64 (*f)(double, double (*)(double)), double (*round)(double)) {
    return [f, round](u64 a, u64, u64) { return f(static_cast<double>(as_float(a)), round); };
  };
  check_operations({
      {"cvt.rni.s32.f32 %0, %1;", "rf", to(convert<s32>, std::nearbyint)},
      {"cvt.rzi.s32.f32 %0, %1;", "rf", to(convert<s32>, std::trunc)},
      {"cvt.rmi.s32.f32 %0, %1;", "rf", to(convert<s32>, std::floor)},
      {"cvt.rpi.s32.f32 %0, %1;", "rf", to(convert<s32>, std::ceil)},
      {"cvt.rni.u32.f32 %0, %1;", "rf", to(convert<u32>, std::nearbyint)},
      {"cvt.rzi.u32.f32 %0, %1;", "rf", to(convert<u32>, std::trunc)},
      {"cvt.rni.s64.f32 %0, %1;", "lf", to(convert<std::int64_t>, std::nearbyint)},
      {"cvt.rni.u64.f32 %0, %1;", "lf", to(convert<u64>, std::nearbyint)},
      {"cvt.rni.s8.f32 %0, %1;", "rf", to(convert<signed char>, std::nearbyint)},
      {"cvt.rzi.s32.f64 %0, %1;", "rd", [](u64 a, u64, u64) { return convert<s32>(as_double(a), std::trunc); }},
  });
}

TEST(Floats, ConversionsToFloats) {
  check_operations({
      {"cvt.rn.f32.s32 %0, %1;", "fr",
       [](u64 a, u64, u64) { return bits_of(static_cast<float>(static_cast<s32>(a))); }},
      {"cvt.rn.f32.u32 %0, %1;", "fr", [](u64 a, u64, u64) { return bits_of(static_cast<float>(a)); }},
      {"cvt.rn.f32.s64 %0, %1;", "fl",
       [](u64 a, u64, u64) { return bits_of(static_cast<float>(static_cast<std::int64_t>(a))); }},
      {"cvt.rni.f32.f32 %0, %1;", "ff", of([](float a, float) { return std::nearbyint(a); })},
      {"cvt.rmi.f32.f32 %0, %1;", "ff", of([](float a, float) { return std::floor(a); })},
      {"cvt.ftz.f32.f32 %0, %1;", "ff", of([](float a, float) { return flush(a); })},
      {"cvt.rn.f32.f64 %0, %1;", "fd", [](u64 a, u64, u64) { return bits_of(static_cast<float>(as_double(a))); }},
      {"{ .reg .f64 t; cvt.f64.f32 t, %1; cvt.rn.f32.f64 %0, t; }", "ff", of([](float a, float) { return a; })},
  });
}

} // namespace
} // namespace sale::emulator
