// SPDX-License-Identifier: Apache-2.0
// device/cp_async.cuh: copies of both widths, zero fill, and groups awaited out of many.
#include "tests/conformance/case.hpp"

#include <string>

namespace sale::conformance {

namespace {

Case copy_case(const std::string &name, unsigned threads, std::size_t output_words, const std::string &body) {
  return shared_memory_case("cp_async", name, {"device/cp_async.cuh"}, threads, output_words, body);
}

} // namespace

std::vector<Case> cp_async_cases() {
  return {
      copy_case("bytes_16", 64, 256, R"(
  cp_async_16(s + 16 * t, in + 4 * (t ^ 21U), true);
  cp_async_commit();
  cp_async_wait<0>();
  sync_threads();
  store_global_16(out + 4 * t, load_shared_16(s + 16 * (63 - t)));
)"),
      copy_case("bytes_16_zero_fill", 64, 256, R"(
  store_shared_16(s + 16 * t, load_global_16(in + 2048));
  sync_threads();
  cp_async_16(s + 16 * t, in + 4 * t, (load_global_4(in + 1024 + t) & 1U) != 0);
  cp_async_commit();
  cp_async_wait<0>();
  sync_threads();
  store_global_16(out + 4 * t, load_shared_16(s + 16 * (63 - t)));
)"),
      copy_case("bytes_4", 64, 64, R"(
  cp_async_4(s + 4 * t, in + 3 * t, (load_global_4(in + 1024 + t) & 3U) != 0);
  cp_async_commit();
  cp_async_wait<0>();
  sync_threads();
  store_global_4(out + t, load_shared_4(s + 4 * (t ^ 9U)));
)"),
      // Group g is read as soon as at most 3 - g are in flight; an empty group counts too.
      copy_case("groups", 64, 1024, R"(
  cp_async_16(s + 16 * t, in + 4 * t, true);
  cp_async_commit();
  cp_async_16(s + 1024 + 16 * t, in + 256 + 4 * t, t % 5 != 0);
  cp_async_commit();
  cp_async_commit();
  cp_async_16(s + 3072 + 16 * t, in + 768 + 4 * t, true);
  cp_async_4(s + 2048 + 4 * t, in + 512 + t, true);
  cp_async_commit();
  cp_async_wait<3>();
  sync_threads();
  store_global_16(out + 4 * t, load_shared_16(s + 16 * (63 - t)));
  cp_async_wait<2>();
  sync_threads();
  store_global_16(out + 256 + 4 * t, load_shared_16(s + 1024 + 16 * (63 - t)));
  cp_async_wait<0>();
  sync_threads();
  store_global_4(out + 512 + t, load_shared_4(s + 2048 + 4 * (63 - t)));
  store_global_16(out + 768 + 4 * t, load_shared_16(s + 3072 + 16 * (63 - t)));
)"),
      // A ring of three stages over eight tiles, as the kernels use it.
      copy_case("ring", 64, 2048, R"(
  for (u32 i = 0; i < 2; ++i) {
    cp_async_16(s + 1024 * i + 16 * t, in + 256 * i + 4 * t, true);
    cp_async_commit();
  }
  for (u32 i = 0; i < 8; ++i) {
    cp_async_wait<1>();
    sync_threads();
    u32 next = i + 2;
    if (next < 8) {
      cp_async_16(s + 1024 * (next % 3) + 16 * t, in + 256 * next + 4 * t, true);
    }
    cp_async_commit();
    store_global_16(out + 256 * i + 4 * t, load_shared_16(s + 1024 * (i % 3) + 16 * (t ^ 33U)));
  }
)"),
  };
}

} // namespace sale::conformance
