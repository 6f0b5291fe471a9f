// SPDX-License-Identifier: Apache-2.0
// The whole method on a GPU against the CPU oracle: every head_dim, element type, GQA ratio and estimator over ragged
// lengths.
#include "check/compare.hpp"
#include "reference/attend.hpp"
#include "reference/region.hpp"
#include "reference/synthetic.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <random>

namespace sale::test {
namespace {

using check::DeviceResult;
using check::DeviceRun;

void expect_none(const check::Problems &problems) {
  for (const std::string &problem : problems) {
    ADD_FAILURE() << problem;
  }
}

void expect_method(const DeviceRun &run, const reference::Tensors &tensors, const std::string &arch = {}) {
  expect_none(check::compare_method(run, tensors, run_on_gpu(run, tensors, arch)));
}

struct Lengths {
  int q_len, kv_len;
};
constexpr std::array ragged = {Lengths{1, 1},       Lengths{31, 31},   Lengths{33, 33},     Lengths{63, 63},
                               Lengths{65, 65},     Lengths{127, 127}, Lengths{1000, 1000}, Lengths{1025, 1025},
                               Lengths{4097, 4097}, Lengths{1, 1000},  Lengths{77, 1025},   Lengths{129, 2050},
                               Lengths{1000, 4097}};

// Draws everything that is not swept, independently, so that all values of all options meet over the rounds.
class Draw {
public:
  explicit Draw(std::size_t round) : random_(static_cast<std::mt19937::result_type>(round * 7919 + 17)) {}

  template <class T>
  T of(std::initializer_list<T> choices) {
    return choices.begin()[random_() % choices.size()];
  }

private:
  std::mt19937 random_;
};

DeviceRun make_run(DType dtype, int head_dim, int gqa, Estimator estimator, std::size_t round) {
  Draw draw(round);
  DeviceRun run;
  run.problem.dtype = dtype;
  run.problem.head_dim = head_dim;
  run.problem.num_kv_heads = gqa == 1 ? 2 : 1;
  run.problem.num_q_heads = gqa * run.problem.num_kv_heads;
  run.policy.estimator = estimator;
  run.policy.block_q = draw.of({64, 128});
  run.policy.block_k = draw.of({32, 64, 128});
  run.policy.sink = draw.of({32, 32, 0, 100});
  run.policy.window = draw.of({128, 128, 0, 200});
  run.policy.tau = draw.of({0.004F, 0.004F, 0.03F, 0.2F});
  const auto heads = static_cast<std::size_t>(run.problem.num_q_heads);
  run.policy.tau_per_head.assign(heads, run.policy.tau);
  if (draw.of({false, false, true})) {
    run.policy.tau_per_head.back() = 0.0F;
  }
  if (draw.of({false, true})) {
    run.policy.shift_per_head.assign(heads, draw.of({0.25F, -0.5F}));
  }
  run.strided = draw.of({false, true});
  return run;
}

reference::Tensors make_data(const DeviceRun &run, const Shape &shape, std::size_t round) {
  if (Draw(round + 5000).of({true, false, false})) {
    return reference::gaussian(run.problem, shape,
                               {.seed = 100 + round, .q_mean = 1.0F, .k_mean = 2.0F, .q_size = 2.0F});
  }
  return reference::structured(run.problem, shape, 200 + round);
}

struct Combination {
  DType dtype;
  int head_dim;
  int gqa;
  std::string arch;
};

std::string name_of(const ::testing::TestParamInfo<Combination> &info) {
  return fmt::format("{}_d{}_gqa{}{}", to_string(info.param.dtype), info.param.head_dim, info.param.gqa,
                     info.param.arch.empty() ? "" : "_" + info.param.arch);
}

std::vector<Combination> combinations(const std::vector<int> &gqas, const std::vector<std::string> &archs) {
  std::vector<Combination> all;
  for (const std::string &arch : archs) {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      for (const int head_dim : {64, 96, 128, 256}) {
        for (const int gqa : gqas) {
          all.push_back({dtype, head_dim, gqa, arch});
        }
      }
    }
  }
  return all;
}

constexpr std::array estimators = {Estimator::int8, Estimator::int4, Estimator::exact};

void sweep(const Combination &c, std::size_t first_round, const std::vector<Lengths> &lengths,
           std::size_t rounds_each) {
  std::size_t round = first_round;
  for (const Lengths &length : lengths) {
    for (std::size_t i = 0; i < rounds_each; ++i, ++round) {
      DeviceRun run = make_run(c.dtype, c.head_dim, c.gqa, estimators[round % estimators.size()], round);
      const Shape shape{length.kv_len <= 130 ? 2 : 1, length.q_len, length.kv_len};
      SCOPED_TRACE(fmt::format("q_len {} kv_len {} {} q{} k{} sink {} window {} tau {} round {}", length.q_len,
                               length.kv_len, to_string(run.policy.estimator), run.policy.block_q, run.policy.block_k,
                               run.policy.sink, run.policy.window, run.policy.tau, round));
      expect_method(run, make_data(run, shape, round), c.arch);
    }
  }
}

class Method : public GpuTest, public ::testing::WithParamInterface<Combination> {};

TEST_P(Method, EqualsTheOracleOverRaggedLengths) {
  const Combination &c = GetParam();
  const auto first = static_cast<std::size_t>(c.head_dim * 100 + c.gqa * 1000 + (c.dtype == DType::bf16 ? 0 : 50));
  sweep(c, first, {ragged.begin(), ragged.end()}, 1);
}

INSTANTIATE_TEST_SUITE_P(Native, Method, ::testing::ValuesIn(combinations({1, 3, 4, 7}, {""})), name_of);

// Other architectures' kernels, as PTX compiled by the driver: numerics, not speed. int4 is packed on 8.x.
class MethodThroughPtx : public GpuTest, public ::testing::WithParamInterface<Combination> {};

TEST_P(MethodThroughPtx, EqualsTheOracleWithEveryEstimator) {
  sweep(GetParam(), 0, {{65, 65}, {1025, 1025}, {77, 1000}}, 3);
}

INSTANTIATE_TEST_SUITE_P(Ptx, MethodThroughPtx, ::testing::ValuesIn(combinations({3}, {"sm_80", "sm_89"})), name_of);

class DenseAttention : public GpuTest, public ::testing::WithParamInterface<Combination> {};

TEST_P(DenseAttention, IsWhatTauZeroAndTheDenseKernelCompute) {
  const Combination &c = GetParam();
  for (const Lengths length : {Lengths{63, 63}, Lengths{1025, 1025}, Lengths{130, 1000}}) {
    SCOPED_TRACE(fmt::format("q_len {} kv_len {}", length.q_len, length.kv_len));
    DeviceRun run = make_run(c.dtype, c.head_dim, c.gqa, Estimator::int8, 2);
    run.policy.tau_per_head.clear();
    run.policy.tau = 0.0F;
    const Shape shape{2, length.q_len, length.kv_len};
    const auto tensors = make_data(run, shape, 1);
    const float scale = effective_softmax_scale(run.problem);
    const auto expected = reference::attend(tensors, scale, nullptr);
    const DeviceResult sparse = run_on_gpu(run, tensors);
    expect_none(check::compare_output(run.problem, tensors, sparse, expected));
    for (int m = 0; m < sparse.mask.q_blocks(); ++m) {
      const auto region = reference::region_of(run.policy, shape, m);
      for (int j = 0; j < sparse.mask.k_blocks(); ++j) {
        for (int row = 0; row < shape.batch * run.problem.num_q_heads; ++row) {
          EXPECT_EQ(sparse.mask.test(row / run.problem.num_q_heads, row % run.problem.num_q_heads, m, j),
                    region.visible(j))
              << "query block " << m << " key block " << j;
        }
      }
    }
    run.dense = true;
    expect_none(check::compare_output(run.problem, tensors, run_on_gpu(run, tensors), expected));
  }
}

class UnusualData : public GpuTest {};

TEST_F(UnusualData, ZeroRowsZeroKeysAndAnOutlierChannelEqualTheOracle) {
  for (const Estimator estimator : estimators) {
    SCOPED_TRACE(to_string(estimator));
    DeviceRun run = make_run(DType::bf16, 128, 3, estimator, 7);
    auto tensors = reference::structured(run.problem, {1, 1000, 1000}, 7);
    const auto clear = [&](std::vector<float> &values, int first, int count) {
      std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(first) * 128, count * 128, 0.0F);
    };
    clear(tensors.q, 70, 1);
    clear(tensors.q, 2000, 130); // whole query blocks of another head
    clear(tensors.k, 320, 32);
    for (std::size_t i = 5; i < tensors.k.size(); i += 128) {
      tensors.k[i] *= 64.0F;
    }
    expect_method(run, tensors);
  }
}

TEST_F(UnusualData, AReferenceRegionBeyondTheKeysIsDense) {
  DeviceRun run = make_run(DType::bf16, 64, 1, Estimator::int8, 3);
  run.policy.sink = 5000;
  expect_method(run, reference::structured(run.problem, {1, 700, 900}, 3));
  run.policy.sink = 0;
  run.policy.window = 1 << 24;
  expect_method(run, reference::structured(run.problem, {1, 700, 900}, 3));
}

TEST_F(UnusualData, OneDominatingKeyAmongManyCostsNoPrecision) {
  // The maximum never moves after the first step: a rescaling factor that is not exactly 1 would add up over 2048
  // steps.
  DeviceRun run;
  run.problem.num_q_heads = 1;
  run.problem.num_kv_heads = 1;
  run.policy.tau = 0.0F;
  const Shape shape{1, 100, 131072};
  auto tensors = reference::gaussian(run.problem, shape, {.seed = 9});
  std::copy_n(tensors.q.begin(), 128, tensors.k.begin());
  for (int i = 1; i < shape.q_len; ++i) {
    std::copy_n(tensors.q.begin(), 128, tensors.q.begin() + static_cast<std::ptrdiff_t>(i) * 128);
  }
  const float scale = effective_softmax_scale(run.problem);
  const auto expected = reference::attend(tensors, scale, nullptr);
  for (const bool dense : {false, true}) {
    run.dense = dense;
    expect_none(check::compare_output(run.problem, tensors, run_on_gpu(run, tensors), expected));
  }
}

INSTANTIATE_TEST_SUITE_P(Native, DenseAttention, ::testing::ValuesIn(combinations({1, 3}, {""})), name_of);

} // namespace
} // namespace sale::test
