// SPDX-License-Identifier: Apache-2.0
// Sequences of packed, padded and paged batches on a GPU: each is what its own plain call computes.
#include "check/compare.hpp"
#include "check/ragged_call.hpp"
#include "reference/synthetic.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <cmath>
#include <cstring>

namespace sale::test {
namespace {

using check::DeviceResult;
using check::DeviceRun;
using check::RaggedRun;

struct Batch {
  const char *name;
  bool packed;
  int page_size;
  bool pages_by_head;
};

class ServingTest : public GpuTest, public ::testing::WithParamInterface<Batch> {
protected:
  // Empty ones, single rows, chunks, edges of tiles and units, and a long one.
  static std::vector<Shape> lengths() {
    return {{1, 0, 0},       {1, 1, 700},   {1, 512, 512}, {1, 513, 1025}, {1, 0, 300},
            {1, 1500, 4000}, {1, 64, 4096}, {1, 129, 129}, {1, 3, 0},      {1, 1, 1}};
  }

  static RaggedRun make_run(const DeviceRun &run, const std::vector<reference::Tensors> &sequences) {
    RaggedRun result{run, {}, {static_cast<int>(sequences.size()), 0, 0}};
    result.serving.ragged = true;
    result.serving.page_size = GetParam().page_size;
    result.pages_by_head = GetParam().pages_by_head;
    for (const reference::Tensors &sequence : sequences) {
      Shape &shape = result.shape;
      shape.q_len = std::max(shape.q_len, sequence.shape.q_len);
      shape.kv_len = std::max(shape.kv_len, sequence.shape.kv_len);
      shape.total_q += GetParam().packed ? sequence.shape.q_len : 0;
      shape.total_kv += GetParam().packed && GetParam().page_size == 0 ? sequence.shape.kv_len : 0;
    }
    return result;
  }

  static std::vector<reference::Tensors> make_sequences(const Problem &problem) {
    std::vector<reference::Tensors> sequences;
    for (const Shape &shape : lengths()) {
      const bool empty = shape.q_len == 0 || shape.kv_len == 0;
      sequences.push_back(empty ? reference::make_tensors(problem, shape)
                                : reference::structured(problem, shape, 50 + sequences.size()));
    }
    return sequences;
  }
};

bool same_bits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

double relative_error(const std::vector<float> &values, const std::vector<float> &expected) {
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(static_cast<double>(values[i]) - expected[i], 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(error / size);
}

std::vector<std::string> families() {
  // Hopper has both.
  return Gpu::get().device->major() == 9 ? std::vector<std::string>{"", "sm_90"} : std::vector<std::string>{""};
}

TEST_P(ServingTest, EverySequenceSelectsWhatItsOwnPlainCallDoes) {
  for (const std::string &arch : families()) {
    for (const Estimator estimator : {Estimator::int8, Estimator::int4, Estimator::exact}) {
      SCOPED_TRACE(arch + " " + to_string(estimator));
      DeviceRun run;
      run.problem.num_q_heads = 4;
      run.problem.num_kv_heads = 2;
      run.policy.estimator = estimator;
      const auto sequences = make_sequences(run.problem);
      const auto results =
          check::run_batch_on_device(make_run(run, sequences), sequences, {}, Gpu::get().device, test_options(arch));
      for (std::size_t b = 0; b < sequences.size(); ++b) {
        SCOPED_TRACE(b);
        EXPECT_TRUE(results[b].guards_intact);
        if (sequences[b].shape.q_len == 0 || sequences[b].shape.kv_len == 0) {
          continue;
        }
        const DeviceResult alone = run_on_gpu(run, sequences[b], arch);
        EXPECT_TRUE(results[b].mask == alone.mask);
        EXPECT_TRUE(same_bits(results[b].threshold, alone.threshold));
        EXPECT_TRUE(same_bits(results[b].kbar, alone.kbar));
        EXPECT_TRUE(results[b].keys.codes == alone.keys.codes);
        EXPECT_LE(relative_error(results[b].out, alone.out), 4e-3); // tiles may differ
        EXPECT_LE(relative_error(results[b].lse, alone.lse), 1e-6);
      }
    }
  }
}

TEST_P(ServingTest, EverySequenceEqualsTheOracle) {
  for (const std::string &arch : families()) {
    SCOPED_TRACE(arch);
    DeviceRun run;
    run.problem.dtype = DType::f16;
    run.problem.num_q_heads = 6;
    run.problem.num_kv_heads = 2;
    run.strided = true;
    const auto sequences = make_sequences(run.problem);
    const RaggedRun ragged = make_run(run, sequences);
    const auto results = check::run_batch_on_device(ragged, sequences, {}, Gpu::get().device, test_options(arch));
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      if (sequences[b].shape.q_len != 0 && sequences[b].shape.kv_len != 0) {
        EXPECT_EQ(check::compare_method(check::run_of(ragged, b), sequences[b], results[b]), check::Problems()) << b;
      }
    }
  }
}

TEST_P(ServingTest, ThirtyThreeSequencesOfOneRowGiveTheSameBitsInAnyOrderOfPages) {
  DeviceRun run;
  run.problem.num_q_heads = 2;
  run.problem.num_kv_heads = 1;
  std::vector<reference::Tensors> sequences;
  for (int b = 0; b < 33; ++b) {
    sequences.push_back(reference::structured(run.problem, {1, 1, 40 + 37 * b}, 900U + static_cast<unsigned>(b)));
  }
  const RaggedRun ragged = make_run(run, sequences);
  const auto first = check::run_batch_on_device(ragged, sequences, {}, Gpu::get().device, test_options(), 1);
  const auto again = check::run_batch_on_device(ragged, sequences, {}, Gpu::get().device, test_options(), 2);
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    EXPECT_TRUE(same_bits(first[b].out, again[b].out) && same_bits(first[b].lse, again[b].lse)) << b;
    EXPECT_EQ(check::compare_method(check::run_of(ragged, b), sequences[b], first[b]), check::Problems()) << b;
  }
}

INSTANTIATE_TEST_SUITE_P(Batches, ServingTest,
                         ::testing::Values(Batch{"packed", true, 0, false}, Batch{"padded", false, 0, false},
                                           Batch{"pages_of_64", true, 64, false},
                                           Batch{"pages_of_16_by_head", false, 16, true}),
                         [](const auto &test) { return std::string(test.param.name); });

} // namespace
} // namespace sale::test
