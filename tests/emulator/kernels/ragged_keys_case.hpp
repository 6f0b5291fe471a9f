// SPDX-License-Identifier: Apache-2.0
// What the tests of kernels that read keys or values by themselves, on ragged batches, have in common.
#pragma once

#include "generator/generate.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/ragged_batch.hpp"
#include "tests/emulator/kernels/ragged_tensor.hpp"

#include <algorithm>
#include <random>

namespace sale::test {

inline constexpr int head_dim = 64;
inline constexpr int heads = 2; // of keys
inline constexpr int gqa = 2;
inline constexpr int max_len = 330;
inline constexpr std::uint8_t untouched = 0xff;
inline const std::vector<int> kv_lens = {0, 300, 33, 0, 128, 1, 0};
inline const std::vector<int> q_lens = {3, 40, 33, 0, 1, 0, 270};

using Bytes = std::vector<std::uint8_t>;

struct RaggedKeysCase {
  const char *name;
  Placement placement;
};

inline void PrintTo(const RaggedKeysCase &c, std::ostream *out) { *out << c.name; }

/// A batch with keys and queries, run with one of these kernels, and each sequence of it alone.
class RaggedKeysTest : public KernelTest, public ::testing::WithParamInterface<RaggedKeysCase> {
protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped()) {
      make(kv_lens, q_lens, max_len);
    }
  }

  void make(const std::vector<int> &kv, const std::vector<int> &q, int longest) {
    const Placement &placement = GetParam().placement;
    const bool packed = placement.kind == Placement::Kind::packed;
    std::vector<SequenceLengths> lengths;
    for (std::size_t i = 0; i < kv.size(); ++i) {
      lengths.emplace_back();
      lengths.back().q_len = q[i];
      lengths.back().kv_len = kv[i];
    }
    BatchLayout layout;
    layout.num_q_heads = heads * gqa;
    layout.packed_q = packed;
    layout.packed_kv = packed;
    layout.max_q_len = longest;
    layout.max_kv_len = longest;
    layout.kbar_stride = packed ? 0 : heads * head_dim; // shared by all sequences, or not
    batch_ = std::make_unique<RaggedBatch>(lengths, layout);
    k_ = std::make_unique<RaggedTensor>(kv, heads, head_dim, longest, placement, 1);
    q_ = std::make_unique<RaggedTensor>(q, heads * gqa, head_dim, longest,
                                        packed ? placement : Placement{.kind = Placement::Kind::padded}, 2);
    kbar_ = normal(sequences() * heads, 3);
    qbar_ = normal(sequences() * heads * gqa, 4);
  }

  static std::unique_ptr<DeviceBuffer> normal(std::size_t rows, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> distribution;
    std::vector<float> values(rows * head_dim);
    std::generate(values.begin(), values.end(), [&] { return distribution(random); });
    return Device::get().upload(values);
  }

  std::size_t sequences() const { return batch_->entries.size(); }
  const float *kbar_of(std::size_t b) const { return kbar_->as<float>() + b * batch_->arg().kbar_stride; }
  std::size_t group_rows() const { return static_cast<std::size_t>(batch_->arg().kv_rows) / 32; }

  static KernelSpec spec_of(Stage stage, bool ragged, Estimator estimator = Estimator::fp8) {
    KernelSpec spec;
    spec.stage = stage;
    spec.arch = {9, 0, true};
    spec.head_dim = head_dim;
    spec.gqa = gqa;
    spec.estimator = estimator;
    spec.ragged = ragged;
    spec.page_rows = ragged ? GetParam().placement.page_rows() : 0;
    return spec;
  }

  template <class Args>
  static void run(KernelSpec spec, const Grid &grid, Args args) {
    spec.tile = default_tile(spec);
    Device::get().run(generate(spec), spec.entry_name().c_str(), grid, static_cast<unsigned>(spec.threads()),
                      static_cast<unsigned>(spec.shared_memory()), {&args});
  }

  template <class Args>
  void run_ragged(const KernelSpec &spec, unsigned x, unsigned y, unsigned z, Args args) const {
    args.ragged = batch_->arg();
    args.paged = k_->paged();
    run(spec, {x, y, z}, args);
  }

  std::unique_ptr<RaggedBatch> batch_;
  std::unique_ptr<RaggedTensor> k_, q_;
  std::unique_ptr<DeviceBuffer> kbar_, qbar_;
};

/// Rows [first, first + count) of `bytes` each.
inline Bytes rows_of(const Bytes &from, std::size_t first, std::size_t count, std::size_t bytes) {
  const auto begin = from.begin() + static_cast<std::ptrdiff_t>(first * bytes);
  return {begin, begin + static_cast<std::ptrdiff_t>(count * bytes)};
}

} // namespace sale::test
