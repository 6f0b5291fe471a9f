// SPDX-License-Identifier: Apache-2.0
// device/special.cuh's barriers, device/named_barrier.cuh and device/registers.cuh.
#include "tests/conformance/case.hpp"

#include <string>

namespace sale::conformance {

namespace {

Case barrier_case(const std::string &name, unsigned threads, std::size_t output_words, const std::string &body) {
  return shared_memory_case("barrier", name, {"device/named_barrier.cuh", "device/registers.cuh"}, threads,
                            output_words, body);
}

} // namespace

std::vector<Case> barrier_cases() {
  return {
      barrier_case("sync_threads", 96, 96, R"(
  u32 value = load_global_4(in + t);
  for (u32 i = 0; i < 5; ++i) {
    store_shared_4(s + 4 * t, value);
    sync_threads();
    value = value * 3 + load_shared_4(s + 4 * ((t + 41) % 96));
    sync_threads();
  }
  store_global_4(out + t, value);
)"),
      barrier_case("sync_warp", 64, 64, R"(
  u32 value = load_global_4(in + t);
  for (u32 i = 0; i < 5; ++i) {
    store_shared_4(s + 4 * t, value);
    sync_warp();
    value = value * 5 + load_shared_4(s + 4 * (t ^ 19U));
    sync_warp();
  }
  store_global_4(out + t, value);
)"),
      // Two pairs of warps, each with a barrier of its own.
      barrier_case("barrier_sync", 128, 128, R"(
  u32 pair = t / 64;
  u32 value = load_global_4(in + t);
  for (u32 i = 0; i < 3 + pair; ++i) {
    store_shared_4(s + 4 * t, value);
    barrier_sync(1 + pair, 64);
    value = value * 7 + load_shared_4(s + 4 * (64 * pair + ((t & 63U) ^ 45U)));
    barrier_sync(1 + pair, 64);
  }
  store_global_4(out + t, value);
)"),
      // One producing warp, two consuming ones: full is barrier 3, empty is barrier 4.
      barrier_case("barrier_arrive", 96, 512, R"(
  for (u32 i = 0; i < 8; ++i) {
    if (t < 32) {
      if (i > 0) {
        barrier_sync(4, 96);
      }
      store_shared_4(s + 4 * t, load_global_4(in + 32 * i + t) + i);
      store_shared_4(s + 128 + 4 * t, load_global_4(in + 512 + 32 * i + t) ^ i);
      barrier_arrive(3, 96);
    } else {
      barrier_sync(3, 96);
      store_global_4(out + 64 * i + t - 32, load_shared_4(s + 4 * (95 - t)));
      if (i < 7) {
        barrier_arrive(4, 96);
      }
    }
  }
)"),
      barrier_case("registers", 384, 384, R"(
  u32 value = load_global_4(in + t);
  if (t < 128) {
    decrease_registers<40>();
    value += 1;
  } else {
    increase_registers<232>();
    value *= 3;
  }
  store_shared_4(s + 4 * t, value);
  sync_threads();
  store_global_4(out + t, load_shared_4(s + 4 * (383 - t)));
)"),
  };
}

} // namespace sale::conformance
