// SPDX-License-Identifier: Apache-2.0
// device/wgmma.cuh with device/matrix_descriptor.cuh: every type, source, density, order and swizzle, at some n.
#include "tests/conformance/case.hpp"
#include "tests/conformance/wgmma_operands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sale::conformance {

namespace {

// Input: 2 steps of 128 threads of a[4] and metadata, D before, then the bytes of shared memory.
constexpr int words_per_thread = 5;

struct Registers {
  const char *type;
  const char *from_bits;
  const char *to_bits;
  int count;
};

Registers registers_of(const WgmmaShape &shape) {
  switch (shape.result) {
  case WgmmaResult::f32: return {"f32", "bits_float", "float_bits", shape.n / 2};
  case WgmmaResult::f16: return {"u32", "", "", shape.n / 4};
  case WgmmaResult::s32: return {"s32", "static_cast<s32>", "static_cast<u32>", shape.n / 2};
  }
  return {};
}

std::string source_of(const WgmmaCase &test, const WgmmaOperands &operands, bool accumulate_first) {
  const Registers d = registers_of(test.shape);
  std::string steps;
  for (int step = 0; step < WgmmaCase::steps; ++step) {
    const auto descriptor = [&](const WgmmaLayout &layout, int base, int k) {
      return fmt::format(
          "matrix_descriptor(tile + {offset}, {leading}, {stride}, MatrixSwizzle::{swizzle})",
          fmt::arg("offset", base + layout.step_offset(k)), fmt::arg("leading", layout.leading_bytes()),
          fmt::arg("stride", layout.stride_bytes()),
          fmt::arg("swizzle", test.swizzle_bytes == 0 ? "none" : fmt::format("bytes_{}", test.swizzle_bytes)));
    };
    steps += fmt::format(
        "  {type}::run(d, {a}, {b}, {metadata}{accumulate});\n", fmt::arg("type", test.shape.type_name()),
        fmt::arg("a", test.shape.a_in_registers ? fmt::format("a[{}]", step)
                                                : descriptor(operands.a_layout(), 0, step * test.a_width())),
        fmt::arg("b", descriptor(operands.b_layout(), operands.b_offset(), step * test.b_width())),
        fmt::arg("metadata", test.shape.sparse ? fmt::format("metadata[{}], ", step) : ""),
        fmt::arg("accumulate", step > 0 || accumulate_first));
  }
  // Per step and thread, what comes from registers.
  const std::string loads = fmt::format(
      "{a}{metadata}  for (u32 step = 0; step < 2; ++step) {{\n    const u32 *from = in + {words} * (128 * step "
      "+ t);\n{load_a}{load_metadata}  }}\n",
      fmt::arg("words", words_per_thread), fmt::arg("a", test.shape.a_in_registers ? "  u32 a[2][4];\n" : ""),
      fmt::arg("metadata", test.shape.sparse ? "  u32 metadata[2];\n" : ""),
      fmt::arg("load_a", test.shape.a_in_registers
                             ? "    for (u32 i = 0; i < 4; ++i) { a[step][i] = load_global_4(from + i); }\n"
                             : ""),
      fmt::arg("load_metadata", test.shape.sparse ? "    metadata[step] = load_global_4(from + 4);\n" : ""));
  const bool has_loads = test.shape.a_in_registers || test.shape.sparse;
  return kernel_source(
      {"device/math.cuh", "device/proxy_fence.cuh", "device/shared.cuh", "device/special.cuh", "device/wgmma.cuh"},
      wgmma_source(test.shape) +
          fmt::format(R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS(128, 1) conformance(const u32 *in, u32 *out) {{
  u32 t = thread_index();
  u32 tile = (dynamic_shared_address() + 1023) / 1024 * 1024;
  const u32 *bytes = in + {operand_words} + 128 * {count};
  for (u32 i = t; i < {tile_words}; i += 128) {{ store_shared_4(tile + 4 * i, load_global_4(bytes + i)); }}
{loads}  {type} d[{count}];
  for (u32 i = 0; i < {count}; ++i) {{ d[i] = {from_bits}(load_global_4(in + {operand_words} + {count} * t + i)); }}
  fence_async_proxy();
  sync_threads();
  wgmma_fence();
{steps}  wgmma_commit();
  wgmma_wait<0>();
  for (u32 i = 0; i < {count}; ++i) {{ store_global_4(out + {count} * t + i, {to_bits}(d[i])); }}
}}
)",
                      fmt::arg("operand_words", 2 * 128 * words_per_thread), fmt::arg("count", d.count),
                      fmt::arg("tile_words", operands.total_bytes() / 4), fmt::arg("loads", has_loads ? loads : ""),
                      fmt::arg("type", d.type), fmt::arg("from_bits", d.from_bits), fmt::arg("to_bits", d.to_bits),
                      fmt::arg("steps", steps)));
}

// Where D[i] of a thread lies, as element of 64 x n.
std::size_t place(const WgmmaShape &shape, int thread, int i) {
  const int lane = thread % 32;
  const int row = thread / 32 * 16 + lane / 4 + 8 * (i / 2 % 2);
  return static_cast<std::size_t>(row * shape.n + i / 4 * 8 + 2 * (lane % 4) + i % 2);
}

u32 result_bits(const WgmmaShape &shape, double value) {
  return shape.result == WgmmaResult::s32 ? static_cast<u32>(static_cast<int>(value)) : f32_bits(value);
}

// As the threads have it: D's words, from what each element is.
template <class Element>
std::vector<u32> distribute(const WgmmaShape &shape, const Element &element) {
  std::vector<u32> words;
  for (int thread = 0; thread < 128; ++thread) {
    for (int i = 0; i < shape.n / 2; ++i) {
      if (shape.result != WgmmaResult::f16) {
        words.push_back(result_bits(shape, element(place(shape, thread, i))));
      } else if (i % 2 == 0) {
        words.push_back(encode(Type::f16, element(place(shape, thread, i))) |
                        encode(Type::f16, element(place(shape, thread, i + 1))) << 16);
      }
    }
  }
  return words;
}

Case case_of(const WgmmaCase &wgmma, bool accumulate_first, Tolerance tolerance = {}) {
  Case test;
  test.family = "wgmma";
  test.name = wgmma.name();
  test.threads = 128;
  test.values = wgmma.shape.result == WgmmaResult::f32   ? Values::f32
                : wgmma.shape.result == WgmmaResult::f16 ? Values::f16_pairs
                                                         : Values::bits;
  test.tolerance = tolerance;
  Random random(test.name);
  const WgmmaOperands operands(wgmma, random);
  test.source = source_of(wgmma, operands, accumulate_first);
  test.shared_bytes = static_cast<unsigned>(operands.total_bytes() + 1024);

  for (int step = 0; step < WgmmaCase::steps; ++step) {
    for (int thread = 0; thread < 128; ++thread) {
      for (int i = 0; i < 4; ++i) {
        test.input.push_back(operands.a_register(step, thread, i));
      }
      test.input.push_back(operands.metadata(step, thread));
    }
  }
  // What is not accumulated must not be seen: then D is NaN, or a large integer, before.
  std::vector<double> before;
  for (int i = 0; i < 64 * wgmma.shape.n; ++i) {
    before.push_back(random.between(-9, 9));
  }
  std::vector<u32> d = distribute(wgmma.shape, [&](std::size_t at) { return before[at]; });
  test.output_words = d.size();
  if (!accumulate_first) {
    std::fill(d.begin(), d.end(), 0x7fff7fffU);
    std::fill(before.begin(), before.end(), 0.0);
  }
  test.input.insert(test.input.end(), d.begin(), d.end());
  const std::vector<u8> bytes = operands.shared_bytes();
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    test.input.push_back(bytes[i] | static_cast<u32>(bytes[i + 1]) << 8 | static_cast<u32>(bytes[i + 2]) << 16 |
                         static_cast<u32>(bytes[i + 3]) << 24);
  }
  if (tolerance.exact()) {
    const std::vector<double> product = operands.product();
    test.expected = distribute(wgmma.shape, [&](std::size_t at) { return before[at] + product[at]; });
  }
  return test;
}

struct Types {
  WgmmaOperand operand;
  WgmmaResult result;
};

constexpr std::array<Types, 6> all_types = {
    Types{WgmmaOperand::bf16, WgmmaResult::f32}, Types{WgmmaOperand::f16, WgmmaResult::f32},
    Types{WgmmaOperand::f16, WgmmaResult::f16},  Types{WgmmaOperand::e4m3, WgmmaResult::f32},
    Types{WgmmaOperand::e4m3, WgmmaResult::f16}, Types{WgmmaOperand::s8, WgmmaResult::s32}};

bool is_16_bit(WgmmaOperand operand) { return operand == WgmmaOperand::bf16 || operand == WgmmaOperand::f16; }

} // namespace

std::vector<Case> wgmma_cases() {
  constexpr std::array<int, 4> swizzles = {128, 64, 32, 0};
  constexpr std::array<int, 5> sizes = {64, 8, 128, 96, 256};
  std::vector<Case> cases;
  // Every combination of the rest with two swizzles and two n; those rotate, so that all pairs of them occur.
  std::size_t turn = 0;
  for (const Types &types : all_types) {
    for (const bool registers : {false, true}) {
      for (const bool sparse : {false, true}) {
        for (const bool mn : {false, true}) {
          if (mn && !is_16_bit(types.operand)) {
            continue;
          }
          for (int i = 0; i < 2; ++i, ++turn) {
            WgmmaCase test;
            test.shape = {types.operand, types.result, sizes[turn % sizes.size()], registers, mn, sparse};
            test.swizzle_bytes = swizzles[(turn + turn / swizzles.size()) % swizzles.size()];
            const bool any_bits = types.operand == WgmmaOperand::s8 && i == 1;
            test.fill = any_bits ? Fill::any_bits : Fill::small_integers;
            cases.push_back(case_of(test, turn % 3 == 0));
          }
        }
      }
    }
  }
  // Rounded sums of 32 (16-bit types) or 64 products below 1. An H100 keeps 23 bits or more of them in f32, but 14 of
  // those of e4m3; f16 has 11, rounded after either step.
  for (const Types &types : all_types) {
    if (types.operand != WgmmaOperand::s8) {
      WgmmaCase test;
      test.shape = {types.operand, types.result, 16, false, false, false};
      test.fill = Fill::reals;
      const double terms = is_16_bit(types.operand) ? 32 : 64;
      const double unit = types.result == WgmmaResult::f16 ? 0x1p-13 : is_16_bit(types.operand) ? 0x1p-24 : 0x1p-15;
      cases.push_back(case_of(test, false, {terms * unit, 0}));
    }
  }
  return cases;
}

} // namespace sale::conformance
