// SPDX-License-Identifier: Apache-2.0
// device/element.cuh and device/pack.cuh: conversions. From 16 and 8 bits every value, to them values near ties and
// ends.
#include "tests/conformance/case.hpp"

#include <fmt/format.h>

namespace sale::conformance {

namespace {

constexpr unsigned threads = 256;

// `expression` of the input's words a, b, c, d (four per thread) or of the index i.
Case conversion(const std::string &name, const std::string &expression, Values values, unsigned blocks) {
  Case test;
  test.family = "element";
  test.name = name;
  test.source = kernel_source({"device/element.cuh", "device/pack.cuh", "device/memory.cuh", "device/special.cuh"},
                              fmt::format(R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS({threads}, 1) conformance(const u32 *in, u32 *out) {{
  u32 i = block_x() * {threads}U + thread_index();
  Vec16 v = load_global_16(in + 4 * (i & 4095U));
  f32 a = bits_float(v.word[0]);
  f32 b = bits_float(v.word[1]);
  f32 c = bits_float(v.word[2]);
  f32 d = bits_float(v.word[3]);
  (void)a, (void)b, (void)c, (void)d;
  store_global_4(out + i, {expression});
}}
)",
                                          fmt::arg("threads", threads), fmt::arg("expression", expression)));
  test.grid = {blocks, 1, 1};
  test.threads = threads;
  test.output_words = blocks * threads;
  test.values = values;
  Random random(name);
  for (int i = 0; i < 4 * 4096; ++i) {
    test.input.push_back(random.float_bits());
  }
  return test;
}

Case pack_bytes() {
  Case test = conversion("pack_bytes",
                         "pack_bytes(static_cast<s32>(v.word[0]), static_cast<s32>(v.word[1]), "
                         "static_cast<s32>(v.word[2]), static_cast<s32>(v.word[3]))",
                         Values::bits, 16);
  Random random("pack_bytes operands");
  for (u32 &word : test.input) {
    word = random.below(8) == 0 ? random.bits() : static_cast<u32>(random.between(-140, 140));
  }
  return test;
}

// Selectors name bytes; their highest bits, which replicate signs, are 0.
Case permute_any_bytes() {
  Case test =
      conversion("permute_any_bytes", "permute_bytes(v.word[0], v.word[1], v.word[2] & 0x7777U)", Values::bits, 16);
  Random random("permute_bytes operands");
  for (u32 &word : test.input) {
    word = random.bits();
  }
  return test;
}

} // namespace

std::vector<Case> element_cases() {
  // i counts all 65536 pairs of bytes and all values of 16 bits.
  return {
      conversion("bf16_low", "float_bits(Bf16::low(i | 0xabcd0000U))", Values::f32, 256),
      conversion("bf16_high", "float_bits(Bf16::high(i << 16 | 0xabcdU))", Values::f32, 256),
      conversion("bf16_pack", "Bf16::pack(a, b)", Values::bf16_pairs, 16),
      conversion("f16_low", "float_bits(F16::low(i | 0xabcd0000U))", Values::f32, 256),
      conversion("f16_high", "float_bits(F16::high(i << 16 | 0xabcdU))", Values::f32, 256),
      conversion("f16_pack", "F16::pack(a, b)", Values::f16_pairs, 16),
      conversion("e4m3_pack", "E4m3::pack(a, b, c, d)", Values::bits, 16),
      conversion("e4m3_low_pair", "E4m3::low_pair(i | 0x12340000U)", Values::f16_pairs, 256),
      conversion("e4m3_high_pair", "E4m3::high_pair(i << 16 | 0x1234U)", Values::f16_pairs, 256),
      pack_bytes(),
      permute_any_bytes(),
      conversion("permute_bytes", "permute_bytes(v.word[0], v.word[1], 0x6420)", Values::bits, 16),
  };
}

} // namespace sale::conformance
