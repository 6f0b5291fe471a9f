// SPDX-License-Identifier: Apache-2.0
// The largest calls that are supported: 2^20 rows or keys of 64 query heads. Tokens repeat with a period, so that every
// bit of a mask and every row of the output has another to be compared with, however far into memory it lies.
#include "reference/element.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>

namespace sale::test {
namespace {

constexpr int period = 4096;
constexpr int most = 1 << 20;
constexpr int q_heads = 64;
constexpr int kv_heads = 8;
constexpr int block_q = 64;
constexpr int block_k = 32;

Problem two_sided(int head_dim) {
  Problem problem;
  problem.head_dim = head_dim;
  problem.num_q_heads = q_heads;
  problem.num_kv_heads = kv_heads;
  problem.causal = false; // so that all rows see whole periods
  return problem;
}

class LargeTest : public GpuTest {
protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    cu::Device handle = 0;
    std::size_t bytes = 0;
    const cu::Api &api = driver().api;
    driver().check(api.device_get(&handle, 0), "cuDeviceGet");
    driver().check(api.device_memory(&bytes, handle), "cuDeviceTotalMem");
    if (bytes < std::size_t{40} << 30U) {
      GTEST_SKIP() << "needs a GPU with 40 GiB";
    }
  }

  static const std::shared_ptr<const Device> &device() { return Gpu::get().device; }
  static const Driver &driver() { return device()->driver(); }

  template <class T>
  static std::vector<T> download(const void *from, std::size_t count) {
    std::vector<T> values(count);
    driver().check(driver().api.copy_to_host(values.data(), reinterpret_cast<cu::Address>(from), count * sizeof(T)),
                   "cuMemcpyDtoH");
    return values;
  }

  // bf16 [heads, tokens, head_dim] whose tokens repeat.
  struct Repeated {
    Repeated(int heads, int tokens, int head_dim, float size, unsigned seed)
        : memory(device(), std::size_t{2} * heads * tokens * head_dim),
          view(packed_view(memory.data(), heads, tokens, head_dim)) {
      std::mt19937 random(seed);
      std::normal_distribution<float> normal;
      values.resize(static_cast<std::size_t>(heads) * period * head_dim);
      for (std::uint16_t &value : values) {
        value = reference::float_to_bf16(size * normal(random));
      }
      const std::size_t bytes = std::size_t{2} * period * head_dim;
      auto to = reinterpret_cast<cu::Address>(memory.data());
      for (int head = 0; head < heads; ++head) {
        for (int token = 0; token < tokens; token += period) {
          driver().check(driver().api.copy_to_device(to, &values[head * bytes / 2], bytes), "cuMemcpyHtoD");
          to += bytes;
        }
      }
    }
    std::vector<std::uint16_t> values; // of one period
    DeviceArray memory;
    TensorView view;
  };

  // What both smooth K by: the mean of some period.
  static DeviceArray mean_of(const Repeated &k, int head_dim) {
    std::vector<float> mean(static_cast<std::size_t>(kv_heads) * head_dim);
    for (std::size_t i = 0; i < k.values.size(); ++i) {
      mean[i / (std::size_t{period} * head_dim) * head_dim + i % head_dim] +=
          reference::bf16_to_float(k.values[i]) / period;
    }
    DeviceArray array(device(), mean.size() * sizeof(float));
    array.upload(mean.data());
    return array;
  }

  struct Call {
    Call(const Plan &used, const Shape &shape, const Repeated &q, const Repeated &k, const Repeated &v,
         const DeviceArray &kbar)
        : plan(used), out(device(), std::size_t{2} * q_heads * shape.q_len * used.problem().head_dim),
          lse(device(), sizeof(float) * q_heads * shape.q_len),
          mask(device(), sizeof(std::uint32_t) * mask_words(used.problem(), used.policy(), shape)),
          workspace(device(), used.workspace_bytes(shape)) {
      const int head_dim = used.problem().head_dim;
      args.shape = shape;
      args.q = q.view;
      args.k = k.view;
      args.v = v.view;
      args.out = packed_view(out.data(), q_heads, shape.q_len, head_dim);
      args.lse = static_cast<float *>(lse.data());
      args.kbar = static_cast<const float *>(kbar.data());
      args.workspace = workspace.data();
      args.workspace_bytes = workspace.bytes();
    }
    const Plan &plan;
    DeviceArray out, lse, mask, workspace;
    RunArgs args;
  };

  static std::size_t row_words(int kv_len) { return static_cast<std::size_t>(kv_len) / block_k / 32; }
};

constexpr std::size_t period_words = period / block_k / 32;

// The first period of keys that is neither a sink nor near any row at hand.
std::vector<std::uint32_t> pattern_of(const std::vector<std::uint32_t> &words, std::size_t row, std::size_t width,
                                      std::size_t at) {
  const auto first = words.begin() + static_cast<std::ptrdiff_t>(row * width + at * period_words);
  return {first, first + period_words};
}

// Patterns that keep all or nothing say little.
void expect_some_kept(const std::vector<std::uint32_t> &words) {
  std::size_t bits = 0;
  for (const std::uint32_t word : words) {
    bits += static_cast<std::size_t>(std::popcount(word));
  }
  const double density = static_cast<double>(bits) / (32.0 * static_cast<double>(words.size()));
  EXPECT_GT(density, 0.05);
  EXPECT_LT(density, 0.95);
}

TEST_F(LargeTest, AMillionKeysAreSelectedAndAttendedToLikeThirtyTwoThousand) {
  constexpr int head_dim = 128;
  constexpr int rows = 2 * period;
  constexpr int few = 8 * period;
  const Problem problem = two_sided(head_dim);
  Policy policy;
  policy.tau = 0.3F;
  const Repeated q(q_heads, rows, head_dim, 1.5F, 1);
  const Repeated k(kv_heads, most, head_dim, 1.0F, 2);
  const Repeated v(kv_heads, most, head_dim, 1.0F, 3);
  const DeviceArray kbar = mean_of(k, head_dim);
  const Engine engine(0, test_options());
  const Plan plan = engine.prepare(problem, policy);
  const Call large(plan, {1, rows, most}, q, k, v, kbar);
  const Call small(plan, {1, rows, few}, q, k, v, kbar);

  std::vector<std::uint32_t> masks[2];
  for (const Call *call : {&large, &small}) {
    RunArgs args = call->args;
    args.mask_out = static_cast<std::uint32_t *>(call->mask.data());
    plan.run(args, nullptr);
    masks[call == &small] = download<std::uint32_t>(call->mask.data(), call->mask.bytes() / 4);
  }
  const std::size_t mask_rows = std::size_t{q_heads} * rows / block_q;
  std::vector<std::uint32_t> patterns;
  for (std::size_t row = 0; row < mask_rows; ++row) {
    const auto expected = pattern_of(masks[1], row, row_words(few), 1);
    patterns.insert(patterns.end(), expected.begin(), expected.end());
    // The last two periods are near some row, and so is the one before them.
    for (std::size_t at = 1; at + 3 < most / period; ++at) {
      ASSERT_EQ(pattern_of(masks[0], row, row_words(most), at), expected) << "mask row " << row << ", period " << at;
    }
  }
  expect_some_kept(patterns);

  // All keys, by the dense kernel and by the walk of a full mask: the softmax over 32 times as many of the same.
  const std::vector<std::uint32_t> all(large.mask.bytes() / 4, ~0U);
  driver().check(
      driver().api.copy_to_device(reinterpret_cast<cu::Address>(large.mask.data()), all.data(), 4 * all.size()),
      "cuMemcpyHtoD");
  plan.run_dense(small.args, nullptr);
  const auto small_out = download<std::uint16_t>(small.out.data(), small.out.bytes() / 2);
  const auto small_lse = download<float>(small.lse.data(), small.lse.bytes() / 4);
  for (const bool walks : {false, true}) {
    RunArgs args = large.args;
    args.mask_in = walks ? static_cast<const std::uint32_t *>(large.mask.data()) : nullptr;
    walks ? plan.run(args, nullptr) : plan.run_dense(args, nullptr);
    const auto out = download<std::uint16_t>(large.out.data(), large.out.bytes() / 2);
    const auto lse = download<float>(large.lse.data(), large.lse.bytes() / 4);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const float expected = reference::bf16_to_float(small_out[i]);
      ASSERT_NEAR(reference::bf16_to_float(out[i]), expected, 0.004 + 0.02 * std::fabs(expected)) << i;
    }
    for (std::size_t i = 0; i < lse.size(); ++i) {
      ASSERT_NEAR(lse[i] - small_lse[i], std::log(most / few), 2e-3) << i;
    }
  }
}

TEST_F(LargeTest, AMillionRowsGiveEqualOutputsForEqualRows) {
  constexpr int head_dim = 64;
  const Problem problem = two_sided(head_dim);
  Policy policy;
  policy.tau = 2.0F;
  const Repeated q(q_heads, most, head_dim, 1.5F, 1);
  const Repeated k(kv_heads, period, head_dim, 1.0F, 2);
  const Repeated v(kv_heads, period, head_dim, 1.0F, 3);
  const DeviceArray kbar = mean_of(k, head_dim);
  const Plan plan = Engine(0, test_options()).prepare(problem, policy);
  const Call call(plan, {1, most, period}, q, k, v, kbar);
  plan.run(call.args, nullptr);
  // Rows before the last two periods are near no key.
  constexpr std::size_t period_elements = std::size_t{period} * head_dim;
  for (std::size_t head = 0; head < q_heads; ++head) {
    const auto out = download<std::uint16_t>(
        static_cast<const std::uint16_t *>(call.out.data()) + head * most * head_dim, std::size_t{most} * head_dim);
    for (std::size_t at = 1; at + 2 < most / period; ++at) {
      ASSERT_EQ(std::memcmp(&out[at * period_elements], out.data(), 2 * period_elements), 0)
          << "head " << head << ", period " << at;
    }
  }
}

TEST_F(LargeTest, MasksOfAMillionRowsAndKeysRepeat) {
  constexpr int head_dim = 64;
  const Problem problem = two_sided(head_dim);
  Policy policy;
  policy.tau = 0.3F;
  const Repeated q(q_heads, most, head_dim, 1.5F, 1);
  const Repeated k(kv_heads, most, head_dim, 1.0F, 2);
  const DeviceArray kbar = mean_of(k, head_dim);
  const Plan plan = Engine(0, test_options()).prepare(problem, policy);
  const Shape shape{1, most, most};
  const DeviceArray mask(device(), sizeof(std::uint32_t) * mask_words(problem, policy, shape));
  const DeviceArray workspace(device(), plan.workspace_bytes(shape));
  RunArgs args;
  args.shape = shape;
  args.q = q.view;
  args.k = k.view;
  args.kbar = static_cast<const float *>(kbar.data());
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.bytes();
  args.mask_out = static_cast<std::uint32_t *>(mask.data());
  plan.select(args, nullptr);
  const std::size_t width = row_words(most);
  constexpr std::size_t rows = most / block_q;
  constexpr std::size_t period_rows = period / block_q;
  for (std::size_t head = 0; head < q_heads; ++head) {
    const auto words =
        download<std::uint32_t>(static_cast<const std::uint32_t *>(mask.data()) + head * rows * width, rows * width);
    // Rows of the second period and beyond have the same reference keys, but those of the last.
    std::vector<std::uint32_t> patterns;
    for (std::size_t row = period_rows; row < rows - period_rows; ++row) {
      const std::size_t own = row / period_rows;
      const auto expected = pattern_of(words, period_rows + row % period_rows, width, 3);
      patterns.insert(patterns.end(), expected.begin(), expected.end());
      for (std::size_t at = 1; at + 1 < most / period; ++at) {
        if (at + 1 < own || at > own + 1) {
          ASSERT_EQ(pattern_of(words, row, width, at), expected)
              << "head " << head << ", mask row " << row << ", period " << at;
        }
      }
    }
    expect_some_kept(patterns);
  }
}

} // namespace
} // namespace sale::test
