// SPDX-License-Identifier: Apache-2.0
// A wgmma's accumulators hold nothing of use until the wgmma.wait_group that covers it.
#include "generator/template_source.hpp"
#include "generator/wgmma_source.hpp"
#include "tests/emulator/jit/harness.hpp"

namespace sale::emulator {
namespace {

constexpr u32 threads = 128;
constexpr float expected = 32.0F; // ones times twos over k = 16

// A of ones and B of twos, 64 x 16 and 8 x 16 bf16 without swizzle; then `body`, with float d[4] and e[4] of ones.
std::string kernel(const std::string &body) {
  std::set<std::string, std::less<>> seen;
  std::string source;
  for (const char *path : {"device/shared.cuh", "device/special.cuh", "device/proxy_fence.cuh", "device/wgmma.cuh"}) {
    source += flatten_template(path, seen);
  }
  return source + wgmma_source({WgmmaOperand::bf16, WgmmaResult::f32, 8}) + R"(
#line 1 "test.cuh"
struct Args { float *out; };
SALE_DEVICE void product(float (&d)[4], u32 a) {
  Wgmma<Bf16, f32, 8, WgmmaSource::shared, WgmmaMajor::k, WgmmaDensity::dense>::run(
      d, matrix_descriptor(a, 128, 256, MatrixSwizzle::none), matrix_descriptor(a + 2048, 128, 256, MatrixSwizzle::none),
      true);
}
SALE_KERNEL void run(const Args args) {
  const u32 a = dynamic_shared_address();
  for (u32 i = thread_index(); i < 512 + 64; i += 128) store_shared_4(a + 4 * i, i < 512 ? 0x3f803f80 : 0x40004000);
  fence_async_proxy();
  sync_threads();
  float d[4] = {1, 1, 1, 1}, e[4] = {1, 1, 1, 1};
  float *out = args.out + thread_index() * 4;
)" + body +
         "\n}\n";
}

std::string run_kernel(const std::string &body, const Buffer<float> &out) {
  float *address = out.data();
  return run(kernel(body), "run", {&address}, threads, 1, 2048 + 256);
}

const std::string issue = "wgmma_fence(); product(d, a); product(d, a); wgmma_commit();\n";
const std::string write = "for (int i = 0; i < 4; ++i) out[i] = d[i];\n";

TEST(WgmmaResults, AreThereAfterTheWait) {
  const Buffer<float> out(4 * threads);
  EXPECT_EQ(run_kernel(issue + "wgmma_wait<0>();" + write, out), "");
  for (u32 i = 0; i < 4 * threads; ++i) {
    ASSERT_EQ(out[i], 1 + 2 * expected) << i;
  }
}

TEST(WgmmaResults, AreNaNBeforeIt) {
  const Buffer<float> out(4 * threads);
  EXPECT_EQ(run_kernel(issue + write + "wgmma_wait<0>();", out), "");
  for (u32 i = 0; i < 4 * threads; ++i) {
    ASSERT_NE(out[i], out[i]) << i;
  }
}

TEST(WgmmaResults, OfAGroupThatMayStillBePendingAreNaN) {
  const Buffer<float> out(4 * threads);
  const std::string two = issue + "wgmma_fence(); product(e, a); wgmma_commit(); wgmma_wait<1>();\n";
  EXPECT_EQ(run_kernel(two + "out[0] = d[0]; out[1] = e[0]; wgmma_wait<0>(); out[2] = e[0];", out), "");
  for (u32 i = 0; i < 4 * threads; i += 4) {
    ASSERT_EQ(out[i], 1 + 2 * expected) << i;
    ASSERT_NE(out[i + 1], out[i + 1]) << i;
    ASSERT_EQ(out[i + 2], 1 + expected) << i;
  }
}

TEST(WgmmaResults, GoOnFromAGroupInFlight) {
  const Buffer<float> out(4 * threads);
  EXPECT_EQ(run_kernel(issue + issue + "wgmma_wait<1>(); wgmma_wait<0>();" + write, out), "");
  for (u32 i = 0; i < 4 * threads; ++i) {
    ASSERT_EQ(out[i], 1 + 4 * expected) << i;
  }
}

TEST(WgmmaResults, MayNotBeOverwritten) {
  const Buffer<float> out(4 * threads);
  const std::string report = run_kernel(issue + "d[2] = 5;\nwgmma_wait<0>();" + write, out);
  EXPECT_NE(report.find("an accumulator was written while its wgmma was in flight"), std::string::npos) << report;
  EXPECT_NE(report.find("wgmma.wait_group"), std::string::npos) << report;
}

} // namespace
} // namespace sale::emulator
