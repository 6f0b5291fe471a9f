// SPDX-License-Identifier: Apache-2.0
// device/math.cuh, device/half2.cuh and the integer helpers of device/types.cuh: one operation, many operands.
#include "tests/conformance/case.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

namespace sale::conformance {

namespace {

constexpr unsigned threads = 128;

// `expression` of the words a, b and c.
std::string source_of(const std::string &expression) {
  return kernel_source({"device/half2.cuh", "device/math.cuh", "device/memory.cuh", "device/special.cuh"},
                       fmt::format(R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS({}, 1) conformance(const u32 *in, u32 *out) {{
  u32 i = block_x() * {}U + thread_index();
  u32 a = load_global_4(in + 3 * i);
  u32 b = load_global_4(in + 3 * i + 1);
  u32 c = load_global_4(in + 3 * i + 2);
  f32 x = bits_float(a);
  f32 y = bits_float(b);
  f32 z = bits_float(c);
  (void)x, (void)y, (void)z, (void)b, (void)c;
  store_global_4(out + i, {});
}}
)",
                                   threads, threads, expression));
}

Case operation(const std::string &name, const std::string &expression, Values values, Tolerance tolerance = {},
               unsigned blocks = 32) {
  Case test;
  test.family = "arithmetic";
  test.name = name;
  test.source = source_of(expression);
  test.grid = {blocks, 1, 1};
  test.threads = threads;
  test.output_words = blocks * threads;
  test.values = values;
  test.tolerance = tolerance;
  Random random(name);
  for (std::size_t i = 0; i < 3 * test.output_words; ++i) {
    test.input.push_back(values == Values::f32 ? random.float_bits() : random.bits());
  }
  return test;
}

u32 bits_of(float value) {
  u32 bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// PTX ISA: the largest error of an approximation, plus the rounding of whoever computes it exactly.
Case approximation(const std::string &name, const std::string &expression, Tolerance tolerance, float low, float high) {
  Case test = operation(name, expression, Values::f32, tolerance, 4);
  Random random(name + " operands");
  for (std::size_t i = 0; i < test.output_words; ++i) {
    if (i % 4 != 0) { // The others stay what operation() gave them: specials and any exponent.
      test.input[3 * i] = bits_of(low + (high - low) * 0.5F * (random.real() + 1));
    }
  }
  return test;
}

// Halves, quarters, ties and the ends of the range of s32.
Case to_int() {
  Case test = operation("to_int_rn", "static_cast<u32>(to_int_rn(x))", Values::bits);
  Random random("to_int_rn operands");
  for (std::size_t i = 0; i < test.output_words; ++i) {
    const bool small = random.below(2) == 0;
    const float tie = static_cast<float>(random.between(-600, 600)) * 0.25F;
    test.input[3 * i] = small ? bits_of(tie) : random.float_bits();
  }
  return test;
}

} // namespace

std::vector<Case> arithmetic_cases() {
  const Values f32 = Values::f32;
  const Values bits = Values::bits;
  const double tiny = 0x1.1p-126; // What .ftz may take away.
  return {
      operation("add_rn", "float_bits(add_rn(x, y))", f32),
      operation("sub_rn", "float_bits(sub_rn(x, y))", f32),
      operation("mul_rn", "float_bits(mul_rn(x, y))", f32),
      operation("div_rn", "float_bits(div_rn(x, y))", f32),
      operation("fma_rn", "float_bits(fma_rn(x, y, z))", f32),
      operation("max_f32", "float_bits(max_f32(x, y))", f32),
      operation("min_f32", "float_bits(min_f32(x, y))", f32),
      operation("max_nan", "float_bits(max_nan(x, y))", f32),
      operation("abs_f32", "float_bits(abs_f32(x))", f32),
      approximation("exp2_approx", "float_bits(exp2_approx(x))", {tiny, 0x1p-22 + 0x1p-24}, -130, 130),
      approximation("log2_approx", "float_bits(log2_approx(x))", {0x1p-22, 0x1p-22 + 0x1p-24}, 0, 4),
      approximation("rcp_approx", "float_bits(rcp_approx(x))", {tiny, 0x1p-23 + 0x1p-24}, -3, 3),
      operation("max_half2", "max_half2(a, b)", Values::f16_pairs),
      operation("fma_half2", "fma_half2(a, b, c)", Values::f16_pairs),
      // Products of up to 256 and 1136: from 1024 to 2047 f16 has no fractions.
      operation("fma_half2_integers",
                "fma_half2((a & 0x83ff83ffU) | 0x54005400U, (b & 0x03ff03ffU) | 0x3c003c00U, 0x64706470U)",
                Values::f16_pairs),
      operation("mul_half2", "mul_half2(a, b)", Values::f16_pairs),
      operation("sub_half2", "sub_half2(a, b)", Values::f16_pairs),
      // NaN or not: select reads the signs.
      operation("fma_half2_signs", "fma_half2(a, b, c) & 0x80008000U", bits),
      to_int(),
      operation("to_float_rn", "float_bits(to_float_rn(static_cast<s32>(a)))", bits),
      operation("count_bits", "static_cast<u32>(count_bits(a))", bits),
      operation("float_bits", "float_bits(bits_float(a))", bits),
      operation("constants",
                "a % 3 == 0 ? float_bits(infinity()) : a % 3 == 1 ? float_bits(log2_of_e()) : float_bits(ln_of_2())",
                bits, {}, 1),
      operation("integers",
                "static_cast<u32>(ceil_div(static_cast<s32>(a >> 8), static_cast<s32>((b & 255) + 1)) + "
                "(imin(static_cast<s32>(a), static_cast<s32>(b)) ^ imax(static_cast<s32>(a), static_cast<s32>(c))))",
                bits, {}, 4),
  };
}

} // namespace sale::conformance
