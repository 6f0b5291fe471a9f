// SPDX-License-Identifier: Apache-2.0
// device/mma.cuh: m16n8 products of every type; sums that are exact, sums that are rounded, and special values.
#include "tests/conformance/case.hpp"
#include "tests/conformance/number.hpp"

#include <fmt/format.h>

namespace sale::conformance {

namespace {

constexpr int words_per_lane = 10; // a[4], b[2], d[4]

const char *operand_name(Type type) {
  switch (type) {
  case Type::bf16: return "Bf16";
  case Type::f16: return "F16";
  case Type::e4m3: break; // mma.cuh has none
  case Type::s8: return "Signed8";
  case Type::s4: return "Signed4";
  }
  return "";
}

std::string source_of(Type type) {
  return kernel_source({"device/mma.cuh", "device/memory.cuh", "device/special.cuh"},
                       fmt::format(R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS(32, 1) conformance(const u32 *in, u32 *out) {{
  u32 lane = block_x() * 32 + thread_index();
  const u32 *from = in + {words} * lane;
  u32 a[4];
  {result} d[4];
  for (u32 i = 0; i < 4; ++i) {{
    a[i] = load_global_4(from + i);
    d[i] = {from_bits}(load_global_4(from + 6 + i));
  }}
  mma({operand}{{}}, d, a, load_global_4(from + 4), load_global_4(from + 5));
  for (u32 i = 0; i < 4; ++i) {{ store_global_4(out + 4 * lane + i, {to_bits}(d[i])); }}
}}
)",
                                   fmt::arg("words", words_per_lane), fmt::arg("operand", operand_name(type)),
                                   fmt::arg("result", is_integer(type) ? "s32" : "f32"),
                                   fmt::arg("from_bits", is_integer(type) ? "static_cast<s32>" : "bits_float"),
                                   fmt::arg("to_bits", is_integer(type) ? "static_cast<u32>" : "float_bits")));
}

// One warp's operands as matrices, and the lanes' words.
struct Tile {
  Type type;
  std::vector<u8> a;  ///< 16 rows of 32 bytes.
  std::vector<u8> b;  ///< 8 columns of 32 bytes.
  std::vector<u32> d; ///< 16 x 8.

  explicit Tile(Type t) : type(t), a(16 * 32), b(8 * 32), d(16 * 8) {}

  int k() const { return 256 / bits_of(type); }

  void fill(Fill how, Random &random) {
    for (std::size_t i = 0; i < 16 * static_cast<std::size_t>(k()); ++i) {
      put(type, a, i, random_element(type, how, random));
    }
    for (std::size_t i = 0; i < 8 * static_cast<std::size_t>(k()); ++i) {
      put(type, b, i, random_element(type, how, random));
    }
    for (u32 &word : d) {
      const int whole = random.between(-9, 9);
      word = is_integer(type) ? static_cast<u32>(how == Fill::any_bits ? random.between(-1000000, 1000000) : whole)
                              : f32_bits(how == Fill::reals ? static_cast<double>(random.real()) : whole);
    }
  }

  static u32 word(const std::vector<u8> &bytes, std::size_t at) {
    return bytes[at] | static_cast<u32>(bytes[at + 1]) << 8 | static_cast<u32>(bytes[at + 2]) << 16 |
           static_cast<u32>(bytes[at + 3]) << 24;
  }

  void append_lanes(std::vector<u32> &input) const {
    for (std::size_t t = 0; t < 32; ++t) {
      for (std::size_t i = 0; i < 4; ++i) {
        input.push_back(word(a, (t / 4 + 8 * (i % 2)) * 32 + 4 * (t % 4) + 16 * (i / 2)));
      }
      input.push_back(word(b, t / 4 * 32 + 4 * (t % 4)));
      input.push_back(word(b, t / 4 * 32 + 4 * (t % 4) + 16));
      for (std::size_t i = 0; i < 4; ++i) {
        input.push_back(d[(t / 4 + 8 * (i / 2)) * 8 + 2 * (t % 4) + i % 2]);
      }
    }
  }

  // Exact sums only.
  void append_products(std::vector<u32> &expected) const {
    for (std::size_t t = 0; t < 32; ++t) {
      for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t row = t / 4 + 8 * (i / 2);
        const std::size_t column = 2 * (t % 4) + i % 2;
        double sum = 0;
        for (std::size_t j = 0; j < static_cast<std::size_t>(k()); ++j) {
          const auto width = static_cast<std::size_t>(k());
          sum += decode(type, get(type, a, row * width + j)) * decode(type, get(type, b, column * width + j));
        }
        const u32 before = d[row * 8 + column];
        expected.push_back(is_integer(type) ? before + static_cast<u32>(static_cast<int>(sum))
                                            : f32_bits(sum + decode_f32(before)));
      }
    }
  }

  static double decode_f32(u32 bits) {
    return decode(Type::bf16, bits >> 16); // small integers: the low half is zero
  }
};

Case product(Type type, Fill fill, int tiles, Tolerance tolerance = {}) {
  Case test;
  test.family = "mma";
  test.name = fmt::format("{}_{}", name_of(type),
                          fill == Fill::small_integers ? "integers"
                          : fill == Fill::reals        ? "reals"
                                                       : "any_bits");
  test.source = source_of(type);
  test.grid = {static_cast<unsigned>(tiles), 1, 1};
  test.output_words = static_cast<std::size_t>(tiles) * 128;
  test.values = is_integer(type) ? Values::bits : Values::f32;
  test.tolerance = tolerance;
  Random random(test.full_name());
  for (int i = 0; i < tiles; ++i) {
    Tile tile(type);
    tile.fill(fill, random);
    tile.append_lanes(test.input);
    if (tolerance.exact()) {
      tile.append_products(test.expected);
    }
  }
  return test;
}

// Infinities and NaNs among small integers: they stay in their rows and columns.
Case specials(Type type, u32 infinity, u32 nan) {
  Case test = product(type, Fill::small_integers, 4);
  test.name = fmt::format("{}_specials", name_of(type));
  test.expected.clear();
  test.input.clear();
  Random random(test.full_name());
  for (int i = 0; i < 4; ++i) {
    Tile tile(type);
    tile.fill(Fill::small_integers, random);
    const auto k = static_cast<u32>(tile.k());
    put(type, tile.a, random.below(8 * k), i % 2 == 0 ? infinity : nan);
    put(type, tile.b, random.below(8 * k), i < 2 ? infinity : nan);
    tile.d[random.below(128)] = 0xff800000U;
    tile.append_lanes(test.input);
  }
  return test;
}

} // namespace

std::vector<Case> mma_cases() {
  // Sums of 16 products below 1, of which an H100 keeps 23 bits or more.
  const Tolerance f32_sum{16 * 0x1p-23, 0};
  return {
      product(Type::bf16, Fill::small_integers, 8), product(Type::f16, Fill::small_integers, 8),
      product(Type::s8, Fill::small_integers, 8),   product(Type::s4, Fill::small_integers, 8),
      product(Type::s8, Fill::any_bits, 8),         product(Type::s4, Fill::any_bits, 8),
      product(Type::bf16, Fill::reals, 4, f32_sum), product(Type::f16, Fill::reals, 4, f32_sum),
      specials(Type::bf16, 0x7f80, 0x7fc0),         specials(Type::f16, 0xfc00, 0x7e00),
  };
}

} // namespace sale::conformance
