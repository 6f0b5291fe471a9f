// SPDX-License-Identifier: Apache-2.0
// device/memory.cuh and device/shared.cuh: every width of load and store, and the atomics.
#include "tests/conformance/case.hpp"

#include <string>

namespace sale::conformance {

namespace {

Case memory_case(const std::string &name, unsigned blocks, unsigned threads, std::size_t output_words,
                 const std::string &body) {
  Case test = shared_memory_case("memory", name, {"device/math.cuh"}, threads, output_words, body);
  test.grid = {blocks, 1, 1};
  return test;
}

} // namespace

std::vector<Case> memory_cases() {
  return {
      memory_case("global_16", 1, 64, 256, "  store_global_16(out + 4 * (63 - t), load_global_16(in + 4 * t));\n"),
      memory_case("global_8", 1, 64, 128,
                  "  store_global_8(out + 2 * t, load_global_4(in + 3 * t), load_global_4(in + 3 * t + 2));\n"),
      memory_case("global_f32", 1, 64, 64, "  store_global_f32(out + t, load_global_f32(in + 2 * t));\n"),
      memory_case("shared_16", 1, 64, 256, R"(
  store_shared_16(s + 16 * t, load_global_16(in + 4 * t));
  sync_threads();
  store_global_16(out + 4 * t, load_shared_16(s + 16 * (63 - t)));
)"),
      memory_case("shared_4", 1, 64, 128, R"(
  store_shared_4(s + 4 * t, load_global_4(in + t));
  store_shared_f32(s + 256 + 4 * t, load_global_f32(in + 64 + t));
  sync_threads();
  store_global_4(out + t, load_shared_4(s + 4 * (t ^ 37U)));
  store_global_f32(out + 64 + t, load_shared_f32(s + 256 + 4 * (t ^ 11U)));
)"),
      memory_case("shared_f32x2", 1, 64, 128, R"(
  store_shared_4(s + 8 * t, load_global_4(in + t));
  store_shared_4(s + 8 * t + 4, load_global_4(in + 64 + t));
  sync_threads();
  f32 v[2];
  load_shared_f32x2(v, s + 8 * (t ^ 5U));
  store_global_8(out + 2 * t, float_bits(v[0]), float_bits(v[1]));
)"),
      memory_case("shared_address", 1, 32, 32, R"(
  u32 first = shared_address(dynamic_shared);
  store_global_4(out + t, (first == s ? 0 : 0x80000000U) | (s & 15U) << 16 | (shared_address(dynamic_shared + t) - first));
)"),
      memory_case("or_global", 4, 64, 16,
                  "  or_global(out + (t & 15U), load_global_4(in + block_x() * 64 + t) & "
                  "load_global_4(in + 512 + t) & load_global_4(in + 1024 + t));\n"),
      // Old values come in any order, but each once.
      memory_case("add_global", 4, 64, 9, R"(
  u32 old = add_global(out, 1);
  or_global(out + 1 + old / 32, 1U << (old & 31U));
)"),
      memory_case("add_global_acq_rel", 4, 64, 9, R"(
  u32 old = add_global_acq_rel(out, 1);
  or_global(out + 1 + old / 32, 1U << (old & 31U));
)"),
      memory_case("max_global", 4, 64, 16, "  max_global(out + (t & 15U), load_global_4(in + block_x() * 64 + t));\n"),
      memory_case("or_shared", 1, 256, 16, R"(
  if (t < 16) { store_shared_4(s + 4 * t, 0); }
  sync_threads();
  or_shared(s + 4 * (t & 15U), 1U << (load_global_4(in + t) & 31U));
  sync_threads();
  if (t < 16) { store_global_4(out + t, load_shared_4(s + 4 * t)); }
)"),
      memory_case("add_shared", 1, 256, 9, R"(
  if (t < 9) { store_shared_4(s + 4 * t, 0); }
  sync_threads();
  u32 old = add_shared(s, 1);
  or_shared(s + 4 + 4 * (old / 32), 1U << (old & 31U));
  sync_threads();
  if (t < 9) { store_global_4(out + t, load_shared_4(s + 4 * t)); }
)"),
  };
}

} // namespace sale::conformance
