// SPDX-License-Identifier: Apache-2.0
// device/ldmatrix.cuh and device/stmatrix.cuh: rows at shuffled places, plain and transposed.
#include "tests/conformance/case.hpp"

#include <fmt/format.h>

#include <numeric>
#include <utility>

namespace sale::conformance {

namespace {

// Input: 64 rows of 16 bytes, then the place of each lane's row.
Case matrix_case(const std::string &name, std::size_t output_words, const std::string &body) {
  Case test;
  test.family = "matrix_load";
  test.name = name;
  test.source = kernel_source({"device/ldmatrix.cuh", "device/stmatrix.cuh", "device/shared.cuh", "device/special.cuh"},
                              fmt::format(R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS(32, 1) conformance(const u32 *in, u32 *out) {{
  u32 t = thread_index();
  u32 s = dynamic_shared_address();
  u32 row = s + 16 * load_global_4(in + 256 + t);
  store_shared_16(s + 16 * t, load_global_16(in + 4 * t));
  store_shared_16(s + 512 + 16 * t, load_global_16(in + 128 + 4 * t));
  sync_warp();
{}}}
)",
                                          body));
  test.shared_bytes = 1024;
  test.output_words = output_words;
  Random random(name);
  for (int i = 0; i < 256; ++i) {
    test.input.push_back(random.bits());
  }
  std::vector<u32> places(64);
  std::iota(places.begin(), places.end(), 0U);
  for (u32 i = 63; i > 0; --i) {
    std::swap(places[i], places[random.below(i + 1)]);
  }
  test.input.insert(test.input.end(), places.begin(), places.begin() + 32);
  return test;
}

Case load(const std::string &function) {
  return matrix_case(function, 128,
                     fmt::format(R"(
  u32 r[4];
  {}(r, row);
  for (u32 i = 0; i < 4; ++i) {{ store_global_4(out + 4 * t + i, r[i]); }}
)",
                                 function));
}

Case store(const std::string &function, int registers) {
  return matrix_case(function, 256,
                     fmt::format(R"(
  u32 r[{registers}];
  for (u32 i = 0; i < {registers}; ++i) {{ r[i] = load_global_4(in + 5 * t + i) ^ 0x5a5a5a5aU; }}
  {function}(row, r);
  sync_warp();
  store_global_16(out + 4 * t, load_shared_16(s + 16 * t));
  store_global_16(out + 128 + 4 * t, load_shared_16(s + 512 + 16 * t));
)",
                                 fmt::arg("registers", registers), fmt::arg("function", function)));
}

} // namespace

std::vector<Case> matrix_load_cases() {
  return {load("ldmatrix_x4"),           load("ldmatrix_x4_trans"), store("stmatrix_x2", 2),
          store("stmatrix_x2_trans", 2), store("stmatrix_x4", 4),   store("stmatrix_x4_trans", 4)};
}

} // namespace sale::conformance
