// SPDX-License-Identifier: Apache-2.0
// device/tensor_copy.cuh: boxes of 2 to 4 dimensions, inside and partly outside their tensor, in every swizzle.
#include "tests/conformance/case.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>

namespace sale::conformance {

namespace {

struct Shape {
  const char *name;
  int element_bytes;
  std::vector<u64> sizes; ///< Innermost first.
  std::vector<u32> box;
  std::vector<int> start;
};

u32 product(const std::vector<u32> &factors) {
  return std::accumulate(factors.begin(), factors.end(), 1U, std::multiplies<>());
}

// Rows are padded to a multiple of 16 bytes, and by 16 more so that strides are no mere products of sizes.
TensorMapSpec map_of(const Shape &shape, int swizzle_bytes) {
  TensorMapSpec map;
  map.element_bytes = shape.element_bytes;
  map.sizes = shape.sizes;
  map.box = shape.box;
  map.swizzle_bytes = swizzle_bytes;
  u64 stride = (shape.sizes[0] * static_cast<u64>(shape.element_bytes) + 15) / 16 * 16 + 16;
  for (std::size_t i = 1; i < shape.sizes.size(); ++i) {
    map.strides_bytes.push_back(stride);
    stride *= shape.sizes[i];
  }
  map.strides_bytes.push_back(stride); // The whole tensor; cuTensorMapEncodeTiled does not read it.
  return map;
}

std::string head(const char *body_start) {
  return fmt::format(R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS(64, 1) conformance(const u32 *in, u32 *out, const SALE_GRID_CONSTANT TensorMap map) {{
  u32 t = thread_index();
  u32 s = dynamic_shared_address();
  u32 tile = (s + 1024 + 1023) / 1024 * 1024;
  {}
)",
                     body_start);
}

std::string source_of(const std::string &body) {
  return kernel_source({"device/bulk_copy.cuh", "device/mbarrier.cuh", "device/proxy_fence.cuh",
                        "device/tensor_copy.cuh", "device/shared.cuh", "device/special.cuh"},
                       body);
}

Case tensor_case(const char *direction, const Shape &shape, int swizzle_bytes) {
  Case test;
  test.family = "tensor_copy";
  test.name = fmt::format("{}_{}d_{}_swizzle_{}", direction, shape.sizes.size(), shape.name, swizzle_bytes);
  test.threads = 64;
  test.shared_bytes = 32768;
  test.map = map_of(shape, swizzle_bytes);
  return test;
}

// The box's bytes as they lie in shared memory.
Case load(const Shape &shape, int swizzle_bytes) {
  Case test = tensor_case("load", shape, swizzle_bytes);
  const u32 bytes = product(shape.box) * static_cast<u32>(shape.element_bytes);
  test.source = source_of(head("(void)in;") +
                          fmt::format(R"(
  if (t == 0) {{
    mbarrier_init(s, 1);
    mbarrier_init_fence();
    tensor_prefetch(&map);
  }}
  sync_threads();
  if (t == 0) {{
    mbarrier_expect(s, {bytes});
    tensor_load_{rank}d(tile, &map, s, {start});
  }}
  mbarrier_wait(s, 0);
  for (u32 i = t; i < {words}; i += 64) {{ store_global_4(out + i, load_shared_4(tile + 4 * i)); }}
}}
)",
                                      fmt::arg("bytes", bytes), fmt::arg("rank", shape.sizes.size()),
                                      fmt::arg("start", fmt::join(shape.start, ", ")), fmt::arg("words", bytes / 4)));
  test.output_words = bytes / 4;
  Random random(test.full_name());
  for (u64 i = 0; i < test.map->strides_bytes.back() / 4; ++i) {
    test.input.push_back(random.bits());
  }
  return test;
}

// The whole tensor, zero but for the box.
Case store(const Shape &shape, int swizzle_bytes) {
  Case test = tensor_case("store", shape, swizzle_bytes);
  const u32 bytes = product(shape.box) * static_cast<u32>(shape.element_bytes);
  test.source =
      source_of(head("(void)out;") + fmt::format(R"(
  for (u32 i = t; i < {words}; i += 64) {{ store_shared_4(tile + 4 * i, load_global_4(in + i)); }}
  fence_async_proxy();
  sync_threads();
  if (t == 0) {{
    tensor_store_{rank}d(&map, tile, {start});
    bulk_commit();
    bulk_wait<0>();
  }}
}}
)",
                                                 fmt::arg("words", bytes / 4), fmt::arg("rank", shape.sizes.size()),
                                                 fmt::arg("start", fmt::join(shape.start, ", "))));
  test.output_words = test.map->strides_bytes.back() / 4;
  test.map->over_output = true;
  Random random(test.full_name());
  for (u32 i = 0; i < bytes / 4; ++i) {
    test.input.push_back(random.bits());
  }
  return test;
}

} // namespace

std::vector<Case> tensor_copy_cases() {
  std::vector<Case> cases;
  for (const int swizzle : {0, 32, 64, 128}) {
    // A box's row is as wide as the swizzle.
    const auto row = [&](int element_bytes) {
      return static_cast<u32>((swizzle == 0 ? 128 : swizzle) / element_bytes);
    };
    const std::vector<Shape> shapes = {
        {"u16", 2, {128, 40}, {row(2), 16}, {64, 8}},
        {"u16_past_end", 2, {100, 37}, {row(2), 24}, {64, 24}},
        {"u8_before_start", 1, {144, 20}, {row(1), 16}, {-16, -5}},
        {"u16_before_row", 2, {64, 20}, {row(2), 16}, {0, -5}},
        {"u16_before_column", 2, {64, 20}, {row(2), 16}, {-8, 3}},
        {"u16", 2, {64, 12, 5}, {row(2), 8, 2}, {0, 2, 1}},
        {"u8_outside", 1, {128, 9, 6}, {row(1), 4, 3}, {16, 7, -1}},
        {"u16", 2, {64, 6, 5, 4}, {row(2), 4, 2, 2}, {0, 1, 2, 1}},
        {"u32_outside", 4, {40, 5, 4, 3}, {row(4), 3, 2, 2}, {20, -1, 3, 2}},
        {"u16_all_outside", 2, {64, 16}, {row(2), 8}, {0, 16}},
    };
    for (const Shape &shape : shapes) {
      cases.push_back(load(shape, swizzle));
      // The hardware refuses to store at negative coordinates.
      if (std::all_of(shape.start.begin(), shape.start.end(), [](int at) { return at >= 0; })) {
        cases.push_back(store(shape, swizzle));
      }
    }
  }
  return cases;
}

std::vector<Case> refused_cases() {
  return {
      load({"u8_odd_start", 1, {144, 20}, {128, 16}, {3, 2}}, 0),
      load({"u32_odd_start", 4, {64, 24}, {16, 16}, {5, 7}}, 0),
      store({"u8_odd_start", 1, {144, 20}, {128, 16}, {3, 2}}, 128),
      store({"u16_before_row", 2, {64, 20}, {64, 16}, {0, -5}}, 128),
      store({"u16_before_column", 2, {64, 20}, {16, 16}, {-8, 3}}, 32),
      store({"u8_outside", 1, {128, 9, 6}, {128, 4, 3}, {16, 7, -1}}, 0),
      store({"u32_outside", 4, {40, 5, 4, 3}, {16, 3, 2, 2}, {20, -1, 3, 2}}, 64),
  };
}

} // namespace sale::conformance
