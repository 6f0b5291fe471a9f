// SPDX-License-Identifier: Apache-2.0
// device/mbarrier.cuh: phases after any order of arrivals and bytes, and a producer with its consumers.
#include "tests/conformance/case.hpp"

#include <string>

namespace sale::conformance {

namespace {

Case mbarrier_case(const std::string &name, unsigned threads, std::size_t output_words, const std::string &body) {
  return shared_memory_case("mbarrier", name, {"device/bulk_copy.cuh", "device/mbarrier.cuh"}, threads, output_words,
                            body);
}

} // namespace

std::vector<Case> mbarrier_cases() {
  return {
      // One thread arrives 40 times at barriers of count 1 to 5, by either kind of arrival, and looks at both parities.
      mbarrier_case("arrivals", 32, 5 * 41, R"(
  if (t == 0) {
    for (u32 count = 1; count <= 5; ++count) {
      u32 barrier = s + 8 * count;
      mbarrier_init(barrier, count);
      mbarrier_init_fence();
      for (u32 i = 0; i <= 40; ++i) {
        u32 seen = static_cast<u32>(mbarrier_test(barrier, 0)) | static_cast<u32>(mbarrier_test(barrier, 1)) << 1;
        store_global_4(out + 41 * (count - 1) + i, seen);
        if ((load_global_4(in + 41 * count + i) & 1U) != 0) {
          mbarrier_arrive(barrier);
        } else {
          mbarrier_expect(barrier, 0);
        }
      }
    }
  }
)"),
      // Bytes are expected in two parts: the phase stays open after the first part came, until the second came too.
      mbarrier_case("bytes", 32, 1027, R"(
  if (t == 0) {
    mbarrier_init(s, 2);
    mbarrier_init(s + 8, 1);
    mbarrier_init_fence();
    mbarrier_expect(s, 2048);
    mbarrier_expect(s + 8, 16);
    bulk_load(s + 1024, in, 2048, s);
    bulk_load(s + 16, in, 16, s + 8);
    mbarrier_wait(s + 8, 0);
    store_global_4(out + 1024, static_cast<u32>(mbarrier_test(s, 0)) | static_cast<u32>(mbarrier_test(s, 1)) << 1);
    mbarrier_expect(s, 2048);
    bulk_load(s + 3072, in + 512, 1024, s);
    store_global_4(out + 1025, static_cast<u32>(mbarrier_test(s, 0)) | static_cast<u32>(mbarrier_test(s, 1)) << 1);
    bulk_load(s + 4096, in + 768, 1024, s);
    mbarrier_wait(s, 0);
    store_global_4(out + 1026, static_cast<u32>(mbarrier_test(s, 0)) | static_cast<u32>(mbarrier_test(s, 1)) << 1);
    for (u32 i = 0; i < 1024; ++i) { store_global_4(out + i, load_shared_4(s + 1024 + 4 * i)); }
  }
)"),
      // The copy is issued before its bytes are expected: the arrival still missing holds the phase open.
      mbarrier_case("bytes_before_expect", 32, 256, R"(
  if (t == 0) {
    mbarrier_init(s, 1);
    mbarrier_init_fence();
  }
  sync_warp();
  if (t == 0) {
    bulk_load(s + 1024, in + 64, 1024, s);
    mbarrier_expect(s, 1024);
  }
  mbarrier_wait(s, 0);
  for (u32 i = t; i < 256; i += 32) { store_global_4(out + i, load_shared_4(s + 1024 + 4 * i)); }
)"),
      // Every thread of four warps arrives; what they wrote before is seen after the wait.
      mbarrier_case("all_threads", 128, 128, R"(
  if (t == 0) {
    mbarrier_init(s, 128);
    mbarrier_init_fence();
  }
  sync_threads();
  u32 value = load_global_4(in + t);
  for (u32 i = 0; i < 6; ++i) {
    store_shared_4(s + 1024 + 512 * i + 4 * t, value);
    mbarrier_arrive(s);
    mbarrier_wait(s, i & 1U);
    value = value * 3 + load_shared_4(s + 1024 + 512 * i + 4 * (t ^ 101U));
  }
  store_global_4(out + t, value);
)"),
      // A ring of three stages: warp 0 loads ten tiles, warps 1 and 2 read them and give the stage back.
      mbarrier_case("ring", 96, 2560, R"(
  u32 full = s;
  u32 empty = s + 24;
  if (t == 0) {
    for (u32 i = 0; i < 3; ++i) {
      mbarrier_init(full + 8 * i, 1);
      mbarrier_init(empty + 8 * i, 2);
    }
    mbarrier_init_fence();
  }
  sync_threads();
  for (u32 i = 0; i < 10; ++i) {
    u32 stage = i % 3;
    u32 parity = i / 3 & 1U;
    u32 tile = s + 1024 + 1024 * stage;
    if (t < 32) {
      if (t == 0) {
        mbarrier_wait(empty + 8 * stage, parity ^ 1U);
        mbarrier_expect(full + 8 * stage, 1024);
        bulk_load(tile, in + 256 * i, 512, full + 8 * stage);
        bulk_load(tile + 512, in + 256 * i + 128, 512, full + 8 * stage);
      }
    } else {
      mbarrier_wait(full + 8 * stage, parity);
      u32 u = t - 32;
      store_global_16(out + 256 * i + 4 * u, load_shared_16(tile + 16 * (63 - u)));
      sync_warp();
      if (lane_index() == 0) {
        mbarrier_arrive(empty + 8 * stage);
      }
    }
  }
)"),
  };
}

} // namespace sale::conformance
