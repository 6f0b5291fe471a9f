// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/instructions/harness.hpp"

#include "reference/element.hpp"
#include "reference/float8.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace sale::emulator::test {
namespace {

/// An element type, as the test knows it.
struct Element {
  const char *name;
  int bits;
  double (*value)(u32 code);
};

double of_bf16(u32 code) { return reference::bf16_to_float(static_cast<u16>(code)); }
double of_f16(u32 code) { return reference::f16_to_float(static_cast<u16>(code)); }
double of_tf32(u32 code) { return std::bit_cast<float>(code); }
double of_s8(u32 code) { return static_cast<std::int8_t>(code); }
double of_u8(u32 code) { return static_cast<u8>(code); }
double of_s4(u32 code) { return code < 8 ? static_cast<double>(code) : static_cast<double>(code) - 16; }
double of_u4(u32 code) { return code; }
double of_e4m3(u32 code) { return reference::e4m3_to_float(static_cast<u8>(code)); }
double of_e5m2(u32 code) { return reference::e5m2_to_float(static_cast<u8>(code)); }

constexpr Element bf16{"bf16", 16, of_bf16};
constexpr Element f16{"f16", 16, of_f16};
constexpr Element tf32{"tf32", 32, of_tf32};
constexpr Element s8{"s8", 8, of_s8};
constexpr Element u8_{"u8", 8, of_u8};
constexpr Element s4{"s4", 4, of_s4};
constexpr Element u4{"u4", 4, of_u4};
constexpr Element e4m3{"e4m3", 8, of_e4m3};
constexpr Element e5m2{"e5m2", 8, of_e5m2};

bool is_integer(const Element &element) { return element.name[0] == 's' || element.name[0] == 'u'; }

/// A code whose products with others sum exactly in any order: small integers, halves and quarters.
u32 random_code(const Element &element, std::mt19937 &random) {
  if (is_integer(element)) {
    return static_cast<u32>(random() & ((u64{1} << element.bits) - 1));
  }
  const float value = static_cast<float>(static_cast<int>(random() % 33) - 16) / 4;
  const std::string name = element.name;
  return name == "bf16"   ? reference::float_to_bf16(value)
         : name == "f16"  ? reference::float_to_f16(value)
         : name == "tf32" ? std::bit_cast<u32>(value)
         : name == "e4m3" ? reference::float_to_e4m3(value)
                          : reference::float_to_e5m2(value);
}

struct Case {
  Element a;
  Element b;
  int k;
  std::string d;
  bool saturated = false;
};

std::string opcode(const Case &c) {
  return "mma.sync.aligned.m16n8k" + std::to_string(c.k) + ".row.col." + (c.saturated ? "satfinite." : "") + c.d + "." +
         c.a.name + "." + c.b.name + "." + c.d;
}

/// Row and column of the i-th element that a lane holds, from the PTX ISA ("Matrix Fragments for mma.m16n8k*"): for
/// elements of e bits, 32/e to a register.
struct Place {
  u32 row;
  u32 column;
};
Place place_of_a(u32 lane, u32 i, u32 per_word) {
  const u32 reg = i / per_word;
  const u32 group = lane / 4;
  const u32 in_group = lane % 4;
  return {reg % 2 == 0 ? group : group + 8, in_group * per_word + i % per_word + (reg >= 2 ? 4 * per_word : 0)};
}
Place place_of_b(u32 lane, u32 i, u32 per_word) {
  return {lane % 4 * per_word + i % per_word + i / per_word * 4 * per_word, lane / 4};
}
Place place_of_d(u32 lane, u32 i) { return {lane / 4 + (i < 2 ? 0 : 8), lane % 4 * 2 + i % 2}; }

struct Matrices {
  std::vector<u32> a, b, c; ///< codes, row-major: 16 x k, k x 8, 16 x 8
};

u32 encode_d(const std::string &type, double value) {
  return type == "f32"   ? std::bit_cast<u32>(static_cast<float>(value))
         : type == "f16" ? reference::float_to_f16(static_cast<float>(value))
                         : static_cast<u32>(static_cast<std::int64_t>(value));
}

double decode_d(const std::string &type, u32 code) {
  return type == "f32" ? std::bit_cast<float>(code) : type == "f16" ? of_f16(code) : static_cast<s32>(code);
}

/// By the emulator: 16 x 8 codes.
std::vector<u32> multiply(const Case &c, const Matrices &m) {
  const auto k = static_cast<u32>(c.k);
  const u32 per_word = 32 / static_cast<u32>(c.a.bits);
  const u32 words_a = 16 * k / per_word / 32;
  const u32 words_b = 8 * k / per_word / 32;
  const bool packed = c.d == "f16";
  const u32 words_d = packed ? 2 : 4;
  const auto count = [](u32 words) { return value(static_cast<int>(words)); };
  const Instruction mma = make(opcode(c), {count(words_d), count(words_a), count(words_b), count(words_d)});
  std::vector<u32> d(16 * 8);
  expect_run([&](Thread &thread) {
    const u32 lane = thread.lane();
    Slots slots{};
    const auto put = [&](u32 first, u32 i, u32 code) {
      slots[first + i / per_word] |= u64{code} << (i % per_word * static_cast<u32>(c.a.bits));
    };
    for (u32 i = 0; i < words_a * per_word; ++i) {
      const Place place = place_of_a(lane, i, per_word);
      put(words_d, i, m.a[place.row * k + place.column]);
    }
    for (u32 i = 0; i < words_b * per_word; ++i) {
      const Place place = place_of_b(lane, i, per_word);
      put(words_d + words_a, i, m.b[place.row * 8 + place.column]);
    }
    for (u32 i = 0; i < 4; ++i) {
      const Place place = place_of_d(lane, i);
      const u32 code = m.c[place.row * 8 + place.column];
      slots[words_d + words_a + words_b + (packed ? i / 2 : i)] |= u64{code} << (packed ? i % 2 * 16 : 0);
    }
    const Slots got = execute(mma, slots);
    for (u32 i = 0; i < 4; ++i) {
      const Place place = place_of_d(lane, i);
      d[place.row * 8 + place.column] = static_cast<u32>(packed ? got[i / 2] >> (i % 2 * 16) & 0xffffU : got[i]);
    }
  });
  return d;
}

double product(const Case &c, const Matrices &m, u32 row, u32 column) {
  const auto k = static_cast<u32>(c.k);
  double sum = 0;
  for (u32 i = 0; i < k; ++i) {
    sum += c.a.value(m.a[row * k + i]) * c.b.value(m.b[i * 8 + column]);
  }
  return sum;
}

Matrices random_matrices(const Case &c, u32 seed) {
  std::mt19937 random(seed);
  Matrices m;
  m.a.resize(16 * static_cast<std::size_t>(c.k));
  m.b.resize(8 * static_cast<std::size_t>(c.k));
  m.c.resize(16 * 8);
  for (u32 &code : m.a) {
    code = random_code(c.a, random);
  }
  for (u32 &code : m.b) {
    code = random_code(c.b, random);
  }
  for (u32 &code : m.c) {
    code = c.d == "s32" ? static_cast<u32>(random()) : encode_d(c.d, static_cast<int>(random() % 65) - 32);
  }
  return m;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int k : {8, 16}) {
    all.push_back({bf16, bf16, k, "f32"});
    all.push_back({f16, f16, k, "f32"});
    all.push_back({f16, f16, k, "f16"});
  }
  all.push_back({tf32, tf32, 4, "f32"});
  all.push_back({tf32, tf32, 8, "f32"});
  for (const auto &[first, second, full] : {std::tuple{s8, u8_, 32}, std::tuple{s4, u4, 64}}) {
    for (const int k : {full / 2, full}) {
      for (const bool saturated : {false, true}) {
        all.push_back({first, first, k, "s32", saturated});
        all.push_back({first, second, k, "s32", saturated});
        all.push_back({second, first, k, "s32", saturated});
        all.push_back({second, second, k, "s32", saturated});
      }
    }
  }
  for (const int k : {16, 32}) {
    for (const char *d : {"f32", "f16"}) {
      all.push_back({e4m3, e4m3, k, d});
      all.push_back({e4m3, e5m2, k, d});
      all.push_back({e5m2, e4m3, k, d});
      all.push_back({e5m2, e5m2, k, d});
    }
  }
  return all;
}

TEST(MmaSync, EveryTypeAndShapeEqualsPlainLoops) {
  u32 seed = 0;
  for (const Case &c : cases()) {
    const Matrices m = random_matrices(c, ++seed);
    const std::vector<u32> d = multiply(c, m);
    for (u32 row = 0; row < 16; ++row) {
      for (u32 column = 0; column < 8; ++column) {
        double sum = product(c, m, row, column) + decode_d(c.d, m.c[row * 8 + column]);
        if (c.saturated) {
          sum = std::min(std::max(sum, -2147483648.0), 2147483647.0);
        }
        ASSERT_EQ(d[row * 8 + column], encode_d(c.d, sum)) << opcode(c) << " at " << row << ", " << column;
      }
    }
  }
}

TEST(MmaSync, IntegersWrapUnlessSaturated) {
  for (const bool saturated : {false, true}) {
    const Case c{s8, s8, 32, "s32", saturated};
    Matrices m = random_matrices(c, 1);
    m.a.assign(m.a.size(), 0x80U);
    m.b.assign(m.b.size(), 0x80U);
    m.c.assign(m.c.size(), 0x7fffffffU);
    const u32 wrapped = 0x7fffffffU + 32 * 128 * 128;
    EXPECT_EQ(multiply(c, m)[0], saturated ? 0x7fffffffU : wrapped);
  }
}

TEST(MmaSync, FloatsAreRoundedOnceAtTheEnd) {
  const Case c{bf16, bf16, 16, "f32"};
  Matrices m = random_matrices(c, 1);
  m.a.assign(m.a.size(), 0);
  m.b.assign(m.b.size(), reference::float_to_bf16(1));
  // 1 + 4 * 2^-26 + 2^-24: each term alone would vanish beside 1.
  m.a[0] = reference::float_to_bf16(1);
  for (std::size_t i = 1; i <= 4; ++i) {
    m.a[i] = reference::float_to_bf16(0x1p-26F);
  }
  m.c.assign(m.c.size(), std::bit_cast<u32>(0x1p-24F));
  EXPECT_EQ(multiply(c, m)[0], std::bit_cast<u32>(1 + 0x1p-23F));
}

TEST(MmaSync, F16ResultsAreNotRoundedByWayOfF32) {
  const Case c{f16, f16, 16, "f16"};
  Matrices m = random_matrices(c, 1);
  m.a.assign(m.a.size(), 0);
  m.b.assign(m.b.size(), 0);
  m.c.assign(m.c.size(), 0);
  // 1 + 2^-11 is a tie, which goes to even; 2^-30 more, that f32 would drop, goes up.
  m.a[0] = reference::float_to_f16(1);
  m.b[0] = reference::float_to_f16(1);
  m.c[0] = reference::float_to_f16(0x1p-11F);
  EXPECT_EQ(multiply(c, m)[0], 0x3c00U);
  m.a[1] = m.b[8] = reference::float_to_f16(0x1p-15F);
  EXPECT_EQ(multiply(c, m)[0], 0x3c01U);
}

TEST(MmaSync, TheLowBitsOfTf32AreIgnored) {
  const Case c{tf32, tf32, 8, "f32"};
  Matrices m = random_matrices(c, 2);
  const std::vector<u32> expected = multiply(c, m);
  for (u32 &code : m.a) {
    code |= 0x1fffU;
  }
  EXPECT_EQ(multiply(c, m), expected);
}

TEST(MmaSync, NotANumberIsTheCanonicalOne) {
  const Case c{f16, f16, 16, "f32"};
  Matrices m = random_matrices(c, 3);
  m.a[0] = 0xfe01U;
  const std::vector<u32> d = multiply(c, m);
  EXPECT_EQ(d[0], 0x7fffffffU);
  EXPECT_NE(d[8], 0x7fffffffU);
}

TEST(MmaSync, ADivergentWarpFaults) {
  const Instruction mma =
      make("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", {value(4), value(4), value(2), value(4)});
  expect_fault("mma.sync", [&](Thread &thread) {
    if (thread.lane() < 31) {
      execute(mma);
    }
  });
}

} // namespace
} // namespace sale::emulator::test
