// SPDX-License-Identifier: Apache-2.0
// libsale's prepare and mma.sync attend of parts of a context: merged, two parts are the whole. The parts and the whole
// are sequences of one batch that have the same queries.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/plain_attention.hpp"
#include "tests/emulator/kernels/ragged_batch.hpp"

#include "args/attend_args.cuh"
#include "args/merge_args.cuh"
#include "args/prepare_args.cuh"
#include "generator/generate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sale::test {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float scale = 0.125F;
constexpr int q_heads = 2;

std::size_t size(long long n) { return static_cast<std::size_t>(n); }

void run(const KernelSpec &spec, const Grid &grid, void *args) {
  Device::get().run(generate(spec), spec.entry_name().c_str(), grid, static_cast<unsigned>(spec.threads()),
                    static_cast<unsigned>(spec.shared_memory()), {args});
}

KernelSpec spec_of(Stage stage, int head_dim) {
  KernelSpec spec;
  spec.stage = stage;
  spec.arch = {8, 0};
  spec.head_dim = head_dim;
  spec.gqa = q_heads;
  spec.estimator = Estimator::exact;
  spec.ragged = spec.parts = true;
  spec.dense = stage == Stage::attend;
  return spec;
}

class MmaParts : public KernelTest, public ::testing::WithParamInterface<int> { ///< Sliding window; 0 = none.
protected:
  static constexpr int d = 64;
  static constexpr int q_len = 70;
  static constexpr int kv_len = 200;
  static constexpr int split = 96;
  static constexpr int position = kv_len - q_len;

  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    BatchLayout layout;
    layout.num_q_heads = q_heads;
    batch = std::make_unique<RaggedBatch>(
        std::vector<SequenceLengths>{
            {.q_len = q_len, .kv_len = split, .position = position},
            {.q_len = q_len, .kv_len = kv_len - split, .position = position - split, .key_offset = split},
            {.q_len = q_len, .kv_len = kv_len}},
        layout);
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    const auto draw = [&](int rows) {
      std::vector<std::uint16_t> values(size(rows) * d);
      std::generate(values.begin(), values.end(), [&] { return to_bf16(normal(random)); });
      return values;
    };
    std::vector<std::uint16_t> queries; // [heads, 3 * q_len, d]
    for (int head = 0; head < q_heads; ++head) {
      const std::vector<std::uint16_t> own = draw(q_len);
      for (int copy = 0; copy < 3; ++copy) {
        queries.insert(queries.end(), own.begin(), own.end());
      }
    }
    const auto twice = [&] { // the parts one after the other are the whole
      std::vector<std::uint16_t> keys = draw(kv_len);
      keys.insert(keys.end(), keys.begin(), keys.begin() + kv_len * d);
      return keys;
    };
    q = Device::get().upload(queries);
    k = Device::get().upload(twice());
    v = Device::get().upload(twice());
  }

  template <class Args>
  void set(Args &args) const {
    args.q = {q->as<void>(), 0, batch->total_q * d, d};
    args.k = {k->as<void>(), 0, 0, d};
    args.num_q_heads = q_heads;
    args.q_len = batch->max_q_len;
    args.kv_len = batch->max_kv_len;
    args.softmax_scale = scale;
    args.sliding_window = GetParam();
    args.ragged = batch->arg();
  }

  KernelSpec spec(Stage stage) const {
    KernelSpec result = spec_of(stage, d);
    result.sliding = GetParam() != 0;
    result.tile = default_tile(result);
    return result;
  }

  // Row i of a head of sequence b.
  static std::size_t row(int head, int b, int i) { return size((head * 3 + b) * q_len + i); }

  // T of each row, and with it what `out` receives.
  std::vector<float> thresholds(const float *in, float *out) const {
    Device &device = Device::get();
    const KernelSpec kernel = spec(Stage::prepare);
    const auto rows = size(batch->arg().q_rows) * q_heads;
    const auto tau = device.upload(std::vector<float>(q_heads, 0.02F));
    const auto threshold = device.allocate(rows * 4);
    const auto theta = device.allocate(rows * 4);
    PrepareArgs args{};
    set(args);
    args.tau = tau->as<float>();
    args.threshold = threshold->as<float>();
    args.theta = theta->as<float>();
    args.sink = 100;
    args.window = 50;
    args.threshold_in = in;
    args.threshold_out = out;
    run(kernel, {static_cast<unsigned>(batch->arg().slots * 512 / kernel.block_q), 1}, &args);
    const std::vector<float> padded = threshold->read<float>();
    std::vector<float> result(size(3 * q_heads * q_len));
    for (int head = 0; head < q_heads; ++head) {
      for (int b = 0; b < 3; ++b) {
        const auto *from = padded.data() + head * batch->arg().q_rows + batch->entries[size(b)].q_row;
        std::copy_n(from, q_len, result.begin() + static_cast<std::ptrdiff_t>(row(head, b, 0)));
      }
    }
    return result;
  }

  std::unique_ptr<RaggedBatch> batch;
  std::unique_ptr<DeviceBuffer> q, k, v;
};

double add_logs(double a, double b) {
  const double highest = std::max(a, b);
  return std::isinf(highest) ? highest : highest + std::log(std::exp(a - highest) + std::exp(b - highest));
}

TEST_P(MmaParts, AttendSoThatMergedTheyAreTheWhole) {
  Device &device = Device::get();
  const KernelSpec kernel = spec(Stage::attend);
  const auto out = device.allocate(size(q_heads * 3 * q_len) * d * 2);
  const auto lse = device.allocate(size(q_heads * 3 * q_len) * 4);
  AttendArgs args{};
  set(args);
  args.v = {v->as<void>(), 0, 0, d};
  args.out = {out->as<void>(), 0, batch->total_q * d, d};
  args.lse = lse->as<float>();
  run(kernel, {static_cast<unsigned>(batch->arg().slots * 512 / kernel.tile.rows()), q_heads}, &args);
  const auto got = out->read<std::uint16_t>();
  const auto got_lse = lse->read<float>();
  for (int head = 0; head < q_heads; ++head) {
    for (int i = 0; i < q_len; ++i) {
      const double lse_a = got_lse[row(head, 0, i)];
      const double lse_b = got_lse[row(head, 1, i)];
      const double whole = got_lse[row(head, 2, i)];
      ASSERT_NEAR(add_logs(lse_a, lse_b), whole, 1e-5) << "row " << i;
      for (int channel = 0; channel < d; ++channel) {
        const auto value = [&](int b) { return from_bf16(got[row(head, b, i) * d + size(channel)]); };
        ASSERT_NEAR(std::exp(lse_a - whole) * value(0) + std::exp(lse_b - whole) * value(1), value(2), 0.02)
            << "row " << i;
      }
    }
  }
}

TEST_P(MmaParts, PrepareThresholdsThatMergeAndThatCallsTakeBitForBit) {
  Device &device = Device::get();
  const auto found = device.allocate(size(q_heads * 3 * q_len) * 4);
  const std::vector<float> own = thresholds(nullptr, found->as<float>());
  std::vector<float> nats = found->read<float>();
  for (int head = 0; head < q_heads; ++head) {
    for (int i = 0; i < q_len; ++i) {
      const float whole = nats[row(head, 2, i)];
      ASSERT_NEAR(add_logs(nats[row(head, 0, i)], nats[row(head, 1, i)]), whole, 1e-5) << "row " << i;
      ASSERT_NEAR(own[row(head, 2, i)] * scale, whole, 1e-5) << "row " << i;
      nats[row(head, 0, i)] = nats[row(head, 1, i)] = whole;
    }
  }
  const auto given = device.upload(nats);
  const auto again = device.allocate(nats.size() * 4);
  const std::vector<float> taken = thresholds(given->as<float>(), again->as<float>());
  EXPECT_EQ(again->read<float>(), nats);
  for (int head = 0; head < q_heads; ++head) {
    for (int i = 0; i < q_len; ++i) {
      for (int b = 0; b < 3; ++b) {
        ASSERT_EQ(taken[row(head, b, i)], own[row(head, 2, i)]) << "row " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(SlidingWindow, MmaParts, ::testing::Values(0, 120));

class Merge : public KernelTest, public ::testing::WithParamInterface<int> {}; ///< head_dim

TEST_P(Merge, WeighsPartsByTheirSumsAndMayBeInPlace) {
  constexpr int rows = 70;
  constexpr int batch = 2;
  const int d = GetParam();
  Device &device = Device::get();
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> a(size(batch * q_heads * rows) * size(d));
  std::vector<std::uint16_t> b(a.size());
  std::generate(a.begin(), a.end(), [&] { return to_bf16(normal(random)); });
  std::generate(b.begin(), b.end(), [&] { return to_bf16(normal(random)); });
  std::vector<float> lse_a(size(batch * q_heads * rows));
  std::vector<float> lse_b(lse_a.size());
  for (std::size_t i = 0; i < lse_a.size(); ++i) {
    lse_a[i] = i % 3 == 0 ? -inf : 3 * normal(random);
    lse_b[i] = i % 4 == 0 ? -inf : 3 * normal(random);
  }
  KernelSpec spec = spec_of(Stage::merge, d);
  spec.tile = default_tile(spec);
  const auto out_a = device.upload(a);
  const auto out_b = device.upload(b);
  const auto sum_a = device.upload(lse_a);
  const auto sum_b = device.upload(lse_b);
  const auto tensor = [&](const DeviceBuffer &buffer) {
    return TensorArg{buffer.as<void>(), q_heads * rows * d, rows * d, d};
  };
  MergeRowsArgs args{};
  args.out_a = tensor(*out_a);
  args.out_b = args.out = tensor(*out_b);
  args.lse_a = sum_a->as<float>();
  args.lse_b = args.lse = sum_b->as<float>();
  args.num_q_heads = q_heads;
  args.q_len = rows;
  run(spec, {(rows + merge_rows - 1) / merge_rows, q_heads, batch}, &args);

  const auto got = out_b->read<std::uint16_t>();
  const auto lse = sum_b->read<float>();
  for (std::size_t i = 0; i < lse.size(); ++i) {
    const double whole = add_logs(lse_a[i], lse_b[i]);
    if (std::isinf(lse_a[i]) || std::isinf(lse_b[i])) {
      ASSERT_EQ(lse[i], std::max(lse_a[i], lse_b[i])) << "row " << i;
    } else {
      ASSERT_NEAR(lse[i], whole, 1e-5) << "row " << i;
    }
    for (std::size_t at = i * size(d); at < (i + 1) * size(d); ++at) {
      if (std::isinf(lse_b[i])) {
        ASSERT_EQ(got[at], a[at]) << "row " << i;
      } else if (std::isinf(lse_a[i])) {
        ASSERT_EQ(got[at], b[at]) << "row " << i;
      } else {
        const double expected =
            std::exp(lse_a[i] - whole) * from_bf16(a[at]) + std::exp(lse_b[i] - whole) * from_bf16(b[at]);
        ASSERT_NEAR(from_bf16(got[at]), expected, 0.004 * std::abs(expected) + 1e-4) << "row " << i;
      }
    }
  }

  // Sums alone.
  sum_b->write(lse_b.data());
  args.out.data = nullptr;
  run(spec, {(rows + merge_rows - 1) / merge_rows, q_heads, batch}, &args);
  EXPECT_EQ(sum_b->read<float>(), lse);
  EXPECT_EQ(out_b->read<std::uint16_t>(), got);
}

INSTANTIATE_TEST_SUITE_P(HeadDim, Merge, ::testing::Values(64, 96, 256));

} // namespace
} // namespace sale::test
