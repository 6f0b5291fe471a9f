// SPDX-License-Identifier: Apache-2.0
// Whole calls of Plans whose keys are one part of a context, or whose codes stay in pages: halves and chunks make what
// one call makes.
#include "tests/emulator/kernels/whole_call.hpp"

#include <cmath>

namespace sale::test {
namespace {

struct Case {
  const char *name;
  const char *arch;
  Estimator estimator;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

constexpr int kv_len = 384;
constexpr int block_k = 32;

class ServingCalls : public WholeCallTest, public ::testing::WithParamInterface<Case> {
protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    policy_.estimator = GetParam().estimator;
    upload({1, kv_len, kv_len});
    kbar_ = Device::get().upload(std::vector<float>(head_dim, 0.125F));
  }

  Plan prepare(const Serving &serving) const {
    return Engine(0, engine_options(GetParam().arch)).prepare(problem_, policy_, serving);
  }

  struct Result {
    std::unique_ptr<DeviceBuffer> out, lse, mask, threshold;
  };

  // Of the queries from `first_row` on; keys are the caller's.
  RunArgs args_for(const Plan &plan, Result &result, int first_row, int rows, int keys) {
    const Device &device = Device::get();
    RunArgs args = inputs();
    args.shape = {1, rows, keys};
    args.q.data = q_->as<std::uint16_t>() + first_row * head_dim;
    result.out = out_of(args.shape);
    result.lse = device.allocate(std::size_t{4} * heads * rows);
    result.threshold = device.allocate(std::size_t{4} * heads * rows);
    result.mask = device.allocate(4 * mask_words(problem_, policy_, args.shape));
    args.out = packed_view(result.out->as<void>(), heads, rows, head_dim);
    args.lse = result.lse->as<float>();
    args.mask_out = result.mask->as<std::uint32_t>();
    args.kbar = kbar_->as<const float>();
    args.workspace_bytes = plan.workspace_bytes(args.shape);
    workspaces_.push_back(device.allocate(args.workspace_bytes));
    args.workspace = workspaces_.back()->as<void>();
    return args;
  }

  const std::int32_t *integers(const std::vector<std::int32_t> &values) {
    integers_.push_back(Device::get().upload(values));
    return integers_.back()->as<const std::int32_t>();
  }

  std::unique_ptr<DeviceBuffer> kbar_;
  std::vector<std::unique_ptr<DeviceBuffer>> workspaces_, integers_;
};

bool kept(const std::vector<std::uint32_t> &mask, int row, int block) {
  const std::size_t words = 4; // of a row: up to 4096 keys
  return (mask[static_cast<std::size_t>(row) * words] >> block & 1U) != 0;
}

class PartsOfAContext : public ServingCalls {
protected:
  static constexpr int rows = 128;
  static constexpr int split = 192; // keys of the first part

  RunArgs part(const Plan &plan, Result &result, int first_key, int keys) {
    RunArgs args = args_for(plan, result, kv_len - rows, rows, keys);
    args.k.data = k_->as<std::uint16_t>() + first_key * head_dim;
    args.v.data = v_->as<std::uint16_t>() + first_key * head_dim;
    args.q_positions = integers({kv_len - rows - first_key});
    args.key_offsets = integers({first_key});
    args.threshold_out = result.threshold->as<float>();
    return args;
  }
};

TEST_P(PartsOfAContext, MakeTheWhole) {
  Serving serving;
  serving.parts = true;
  const Plan plan = prepare(serving);
  Result whole, a, b, merged;
  plan.run(part(plan, whole, 0, kv_len), nullptr);
  RunArgs of_a = part(plan, a, 0, split);
  RunArgs of_b = part(plan, b, split, kv_len - split);
  const RunArgs of_merged = part(plan, merged, 0, kv_len);

  // What each part knows of the thresholds makes those of the whole.
  plan.select(of_a, nullptr);
  plan.select(of_b, nullptr);
  MergeArgs merge;
  merge.shape = of_a.shape;
  merge.lse_a = of_a.threshold_out;
  merge.lse_b = of_b.threshold_out;
  merge.lse = of_merged.threshold_out;
  plan.merge(merge, nullptr);
  const auto whole_threshold = whole.threshold->read<float>();
  const auto merged_threshold = merged.threshold->read<float>();
  for (std::size_t i = 0; i < whole_threshold.size(); ++i) {
    ASSERT_NEAR(merged_threshold[i], whole_threshold[i], 1e-4F) << i;
  }

  // With the same thresholds they select the same blocks.
  of_a.threshold_in = of_b.threshold_in = whole.threshold->as<float>();
  plan.run(of_a, nullptr);
  plan.run(of_b, nullptr);
  const auto mask = whole.mask->read<std::uint32_t>();
  const auto mask_a = a.mask->read<std::uint32_t>();
  const auto mask_b = b.mask->read<std::uint32_t>();
  int blocks_kept = 0;
  for (int row = 0; row < heads * rows / policy_.block_q; ++row) {
    for (int block = 0; block < kv_len / block_k; ++block) {
      const int of_split = split / block_k;
      const bool in_part = block < of_split ? kept(mask_a, row, block) : kept(mask_b, row, block - of_split);
      EXPECT_EQ(in_part, kept(mask, row, block)) << "row " << row << " block " << block;
      blocks_kept += in_part ? 1 : 0;
    }
  }
  EXPECT_LT(blocks_kept, heads * rows / policy_.block_q * kv_len / block_k);

  // Their outputs make its output.
  merge.out_a = of_a.out;
  merge.out_b = of_b.out;
  merge.out = of_merged.out;
  merge.lse_a = of_a.lse;
  merge.lse_b = of_b.lse;
  merge.lse = of_merged.lse;
  plan.merge(merge, nullptr);
  const auto lse = whole.lse->read<float>();
  const auto merged_lse = merged.lse->read<float>();
  for (std::size_t i = 0; i < lse.size(); ++i) {
    ASSERT_NEAR(merged_lse[i], lse[i], 1e-4F) << i;
  }
  const auto out = whole.out->read<std::uint16_t>();
  const auto merged_out = merged.out->read<std::uint16_t>();
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float expected = reference::element_to_float(out[i], problem_.dtype);
    ASSERT_NEAR(reference::element_to_float(merged_out[i], problem_.dtype), expected, 0.02F * (1 + std::fabs(expected)))
        << i;
  }
}

class CodesInPages : public ServingCalls {
protected:
  static constexpr int page = 64;
  static constexpr int chunk = 192;

  void SetUp() override {
    ServingCalls::SetUp();
    if (IsSkipped()) {
      return;
    }
    k_ = scattered(tensors_.k);
    v_ = scattered(tensors_.v);
  }

  RunArgs chunk_args(const Plan &plan, Result &result, int first_row) {
    RunArgs args = args_for(plan, result, first_row, chunk, first_row + chunk);
    args.k = packed_view(k_->as<void>(), 1, page, head_dim);
    args.v = packed_view(v_->as<void>(), 1, page, head_dim);
    args.block_table = integers(table_);
    args.block_table_stride = static_cast<int>(table_.size());
    args.num_pages = num_pages;
    return args;
  }

  static constexpr int num_pages = 8;
  const std::vector<std::int32_t> table_ = {5, 0, 7, 2, 3, 6};

private:
  // Into pages; those of nobody are NaN.
  std::unique_ptr<DeviceBuffer> scattered(const std::vector<float> &values) const {
    const std::vector<std::uint16_t> from = reference::to_elements(values, problem_.dtype);
    std::vector<std::uint16_t> pages(std::size_t{num_pages} * page * head_dim, 0x7fff);
    for (std::size_t i = 0; i < from.size(); ++i) {
      const std::size_t size = std::size_t{page} * head_dim;
      pages[static_cast<std::size_t>(table_[i / size]) * size + i % size] = from[i];
    }
    return Device::get().upload(pages);
  }
};

TEST_P(CodesInPages, OfEarlierChunksAreNotMadeAnew) {
  Serving serving;
  serving.page_size = page;
  const Plan plain = prepare(serving);
  serving.code_cache = true;
  const Plan plan = prepare(serving);
  const auto cache = Device::get().allocate(plan.code_cache_bytes(num_pages));
  Result expected, first, second;
  plain.run(chunk_args(plain, expected, chunk), nullptr);

  RunArgs args = chunk_args(plan, first, 0);
  args.code_cache = cache->as<void>();
  plan.run(args, nullptr);
  args = chunk_args(plan, second, chunk);
  args.code_cache = cache->as<void>();
  plan.run(args, nullptr);
  EXPECT_EQ(second.mask->read<std::uint32_t>(), expected.mask->read<std::uint32_t>());
  EXPECT_EQ(second.out->read<std::uint16_t>(), expected.out->read<std::uint16_t>());
  EXPECT_EQ(second.lse->read<float>(), expected.lse->read<float>());

  // A code that another call has left stays what it is; those of the chunk itself are written again.
  auto codes = cache->read<std::uint8_t>();
  const std::size_t old_code = static_cast<std::size_t>(table_[1]) * page * head_dim + 5;
  const std::size_t new_code = static_cast<std::size_t>(table_[4]) * page * head_dim + 5;
  const std::uint8_t of_the_chunk = codes[new_code];
  codes[old_code] ^= 1U;
  codes[new_code] ^= 1U;
  cache->write(codes.data());
  plan.run(args, nullptr);
  const auto after = cache->read<std::uint8_t>();
  EXPECT_EQ(after[old_code], codes[old_code]);
  EXPECT_EQ(after[new_code], of_the_chunk);
}

constexpr Case cases[] = {{"int8_of_sm_90", "sm_90", Estimator::int8},
                          {"int8_of_sm_90a", "sm_90a", Estimator::int8},
                          {"fp8_of_sm_90a", "sm_90a", Estimator::fp8}};
const auto name_of = [](const auto &info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Cases, PartsOfAContext, ::testing::ValuesIn(cases), name_of);
INSTANTIATE_TEST_SUITE_P(Cases, CodesInPages, ::testing::ValuesIn(cases), name_of);

} // namespace
} // namespace sale::test
