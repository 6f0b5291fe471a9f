// SPDX-License-Identifier: Apache-2.0
// device/bulk_copy.cuh: copies of 16 to 8192 bytes both ways, and both kinds of waiting for stores.
#include "tests/conformance/case.hpp"

#include <fmt/format.h>

namespace sale::conformance {

namespace {

constexpr u32 words = 4096;

Case bulk_case(const std::string &name, std::size_t output_words, const std::string &body) {
  Case test;
  test.family = "bulk_copy";
  test.name = name;
  test.source = kernel_source({"device/bulk_copy.cuh", "device/mbarrier.cuh", "device/proxy_fence.cuh",
                               "device/shared.cuh", "device/special.cuh"},
                              fmt::format(R"(
SALE_KERNEL void SALE_LAUNCH_BOUNDS(64, 1) conformance(const u32 *in, u32 *out) {{
  u32 t = thread_index();
  u32 s = dynamic_shared_address();
  if (t == 0) {{
    mbarrier_init(s, 1);
    mbarrier_init_fence();
  }}
  sync_threads();
{}}}
)",
                                          body));
  test.threads = 64;
  test.shared_bytes = 32768;
  test.output_words = output_words;
  Random random(name);
  for (u32 i = 0; i < words; ++i) {
    test.input.push_back(random.bits());
  }
  return test;
}

Case load(unsigned bytes) {
  return bulk_case(fmt::format("load_{}", bytes), bytes / 4,
                   fmt::format(R"(
  if (t == 0) {{
    mbarrier_expect(s, {bytes});
    bulk_load(s + 1024 + 16, in + 12, {bytes}, s);
  }}
  mbarrier_wait(s, 0);
  for (u32 i = t; i < {words}; i += 64) {{ store_global_4(out + i, load_shared_4(s + 1024 + 16 + 4 * i)); }}
)",
                               fmt::arg("bytes", bytes), fmt::arg("words", bytes / 4)));
}

Case store(unsigned bytes) {
  return bulk_case(fmt::format("store_{}", bytes), bytes / 4 + 8,
                   fmt::format(R"(
  for (u32 i = t; i < {words}; i += 64) {{ store_shared_4(s + 1024 + 4 * i, load_global_4(in + i)); }}
  fence_async_proxy();
  sync_threads();
  if (t == 0) {{
    bulk_store(out + 4, s + 1024, {bytes});
    bulk_commit();
    bulk_wait<0>();
  }}
)",
                               fmt::arg("bytes", bytes), fmt::arg("words", bytes / 4)));
}

} // namespace

std::vector<Case> bulk_copy_cases() {
  return {
      load(16),
      load(48),
      load(1024),
      load(8192),
      store(16),
      store(80),
      store(4096),
      // The source is overwritten as soon as it has been read; the first values must arrive.
      bulk_case("store_twice", 1024, R"(
  for (u32 round = 0; round < 4; ++round) {
    if (t == 0 && round > 1) {
      bulk_wait_read<1>();
    }
    sync_threads();
    u32 tile = s + 1024 + 1024 * (round & 1U);
    for (u32 i = t; i < 256; i += 64) { store_shared_4(tile + 4 * i, load_global_4(in + 256 * round + i) + round); }
    fence_async_proxy();
    sync_threads();
    if (t == 0) {
      bulk_store(out + 256 * round, tile, 1024);
      bulk_commit();
    }
  }
  if (t == 0) {
    bulk_wait<0>();
  }
)"),
  };
}

} // namespace sale::conformance
