// SPDX-License-Identifier: Apache-2.0
// device/warp.cuh and device/special.cuh: collectives of a warp, special registers.
#include "tests/conformance/case.hpp"

#include <fmt/format.h>

namespace sale::conformance {

namespace {

// `expression` of lane t's words a and b; 16 warps in 4 CTAs.
Case collective(const std::string &name, const std::string &expression) {
  Case test;
  test.family = "warp";
  test.name = name;
  test.source = kernel_source({"device/warp.cuh", "device/memory.cuh", "device/special.cuh"}, fmt::format(R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS(128, 1) conformance(const u32 *in, u32 *out) {{
  u32 t = block_x() * 128 + thread_index();
  u32 a = load_global_4(in + 2 * t);
  u32 b = load_global_4(in + 2 * t + 1);
  (void)a, (void)b;
  store_global_4(out + t, {});
}}
)",
                                                                                                          expression));
  test.grid = {4, 1, 1};
  test.threads = 128;
  test.output_words = 512;
  Random random(name);
  for (int i = 0; i < 1024; ++i) {
    test.input.push_back(random.bits());
  }
  return test;
}

Case special_registers() {
  Case test;
  test.family = "warp";
  test.name = "special_registers";
  test.source = kernel_source({"device/memory.cuh", "device/special.cuh"}, R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS(96, 1) conformance(const u32 *in, u32 *out) {
  u32 cta = (block_z() * 2 + block_y()) * grid_x() + block_x();
  u32 words = grid_x() << 28 | block_z() << 24 | block_y() << 20 | block_x() << 16 | lane_index() << 8 | thread_index();
  store_global_4(out + cta * 96 + thread_index(), words ^ load_global_4(in));
}
)");
  test.grid = {3, 2, 2};
  test.threads = 96;
  test.output_words = 3 * 2 * 2 * 96;
  test.input = {0};
  return test;
}

} // namespace

std::vector<Case> warp_cases() {
  return {
      collective("shuffle", "shuffle(a, b)"), // Lanes above 31 wrap around.
      collective("shuffle_xor_1", "shuffle_xor(a, 1)"),
      collective("shuffle_xor_2", "shuffle_xor(a, 2)"),
      collective("shuffle_xor_16", "shuffle_xor(a, 16)"),
      collective("shuffle_xor_31", "shuffle_xor(a, 31)"),
      collective("shuffle_xor_f32", "float_bits(shuffle_xor(bits_float(a & 0x7effffffU), 4))"),
      collective("warp_ballot", "warp_ballot((a & 1U) != 0)"),
      collective("warp_ballot_none", "warp_ballot(a == 1) + warp_ballot(a != 1)"),
      collective("warp_any", "static_cast<u32>(warp_any((a & 31U) == 0))"),
      collective("reduce_or", "reduce_or(a & b & (a >> 7))"),
      // Which lane is elected is not defined; that it is one, and the same again, is.
      collective("elect_lane",
                 "static_cast<u32>(count_bits(warp_ballot(elect_lane()))) | (warp_ballot(elect_lane()) == "
                 "warp_ballot(elect_lane()) ? 256U : 0U) | (b & 0U)"),
      special_registers(),
  };
}

} // namespace sale::conformance
