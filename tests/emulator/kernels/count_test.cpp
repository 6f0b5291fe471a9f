// SPDX-License-Identifier: Apache-2.0
// Plans that count on the device (Serving::counted): totals against the masks that the calls wrote, and against the
// visible blocks by the book.
#include "tests/emulator/kernels/whole_call.hpp"

#include "reference/region.hpp"

#include <bit>
#include <chrono>

namespace sale::test {
namespace {

struct Case {
  const char *name;
  const char *arch;
  std::vector<Shape> sequences; ///< Of one length: a plain batch. Else padded.
  bool causal = true;
  int sliding_window = 0;
  int block_q = 64;
  int block_k = 32;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

const Case cases[] = {
    {.name = "Plain", .arch = "sm_80", .sequences = {{1, 330, 420}}},
    {.name = "Batch", .arch = "sm_90a", .sequences = {{1, 130, 200}, {1, 130, 200}, {1, 130, 200}}},
    {.name = "NotCausal", .arch = "sm_90", .sequences = {{1, 200, 300}}, .causal = false},
    {.name = "Sliding", .arch = "sm_90a", .sequences = {{1, 700, 700}}, .sliding_window = 400},
    {.name = "LargeBlocks", .arch = "sm_90a", .sequences = {{1, 300, 2500}}, .block_q = 128, .block_k = 64},
    {.name = "Ragged", .arch = "sm_90a", .sequences = {{1, 330, 420}, {1, 1, 7}, {1, 64, 64}, {1, 0, 0}}},
    {.name = "RaggedWarpProducts", .arch = "sm_80", .sequences = {{1, 70, 230}, {1, 65, 65}, {1, 3, 400}}},
};

struct Blocks {
  std::uint64_t kept = 0;
  std::uint64_t visible = 0;
};

class Counted : public WholeCallTest, public ::testing::WithParamInterface<Case> {
protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    const Case &c = GetParam();
    problem_.causal = c.causal;
    problem_.sliding_window = c.sliding_window;
    policy_.block_q = c.block_q;
    policy_.block_k = c.block_k;
    serving_.counted = true;
    Shape shape{static_cast<int>(c.sequences.size()), 0, 0};
    std::vector<std::int32_t> q_lens, kv_lens;
    for (const Shape &sequence : c.sequences) {
      shape.q_len = std::max(shape.q_len, sequence.q_len);
      shape.kv_len = std::max(shape.kv_len, sequence.kv_len);
      q_lens.push_back(sequence.q_len);
      kv_lens.push_back(sequence.kv_len);
    }
    const Device &device = Device::get();
    for (const Shape &sequence : c.sequences) {
      serving_.ragged |= sequence.q_len != shape.q_len || sequence.kv_len != shape.kv_len;
    }
    upload(shape);
    q_lens_ = device.upload(q_lens);
    kv_lens_ = device.upload(kv_lens);
    out_ = out_of(shape);
    mask_ = device.allocate(4 * mask_words(problem_, policy_, shape_));
  }

  Plan prepare() const { return Engine(0, engine_options(GetParam().arch)).prepare(problem_, policy_, serving_); }

  RunArgs args_for(const Plan &plan) {
    RunArgs args = inputs();
    args.out = packed_view(out_->as<void>(), heads, shape_.q_len, head_dim);
    if (serving_.ragged) {
      args.q_lens = q_lens_->as<const std::int32_t>();
      args.kv_lens = kv_lens_->as<const std::int32_t>();
    }
    args.workspace_bytes = plan.workspace_bytes(shape_);
    workspace_ = Device::get().allocate(args.workspace_bytes);
    args.workspace = workspace_->as<void>();
    return args;
  }

  // Of what mask_ says.
  Blocks blocks() const {
    const auto words = mask_->read<std::uint32_t>();
    const int blocks_per_head = (shape_.q_len + policy_.block_q - 1) / policy_.block_q;
    const std::size_t row_words = words.size() / static_cast<std::size_t>(shape_.batch * heads * blocks_per_head);
    Blocks sum;
    for (int b = 0; b < shape_.batch; ++b) {
      const Shape &sequence = GetParam().sequences[static_cast<std::size_t>(b)];
      for (int m = 0; m * policy_.block_q < sequence.q_len; ++m) {
        const auto visible = reference::region_of(policy_, problem_, sequence, m).visible_count();
        sum.visible += static_cast<std::uint64_t>(heads) * static_cast<std::uint64_t>(visible);
        for (int head = 0; head < heads; ++head) {
          const auto row = static_cast<std::size_t>((b * heads + head) * blocks_per_head + m);
          for (std::size_t word = 0; word < row_words; ++word) {
            sum.kept += static_cast<std::uint64_t>(std::popcount(words[row * row_words + word]));
          }
        }
      }
    }
    return sum;
  }

  std::unique_ptr<DeviceBuffer> q_lens_, kv_lens_, out_, mask_, workspace_;
};

TEST_P(Counted, TotalsAreThoseOfTheMasks) {
  const Plan plan = prepare();
  EXPECT_EQ(plan.counters().finished, 0U);
  RunArgs args = args_for(plan);
  args.mask_out = mask_->as<std::uint32_t>();
  const auto begin = std::chrono::steady_clock::now();
  plan.run(args, nullptr);
  finish();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  const PlanCounters once = plan.counters();
  const Blocks expected = blocks();
  ASSERT_LT(expected.kept, expected.visible) << "the policy leaves something out";
  EXPECT_EQ(once.finished, 1U);
  EXPECT_EQ(once.kept_blocks, expected.kept);
  EXPECT_EQ(once.visible_blocks, expected.visible);
  EXPECT_GT(once.milliseconds, 0);
  EXPECT_LE(once.milliseconds, took.count());

  plan.run_dense(args_for(plan), nullptr);
  finish();
  const PlanCounters twice = plan.counters();
  EXPECT_EQ(twice.finished, 2U);
  EXPECT_EQ(twice.kept_blocks, expected.kept + expected.visible) << "a dense call keeps all";
  EXPECT_EQ(twice.visible_blocks, 2 * expected.visible);
  EXPECT_GT(twice.milliseconds, once.milliseconds);

  args = args_for(plan);
  args.mask_in = mask_->as<const std::uint32_t>();
  plan.run(args, nullptr);
  finish();
  EXPECT_EQ(plan.counters().kept_blocks, 2 * expected.kept + expected.visible) << "of the given mask";
}

INSTANTIATE_TEST_SUITE_P(Cases, Counted, ::testing::ValuesIn(cases), [](const auto &each) { return each.param.name; });

} // namespace
} // namespace sale::test
