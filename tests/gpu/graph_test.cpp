// SPDX-License-Identifier: Apache-2.0
// A call of a ragged Plan in a CUDA graph: captured once, replayed with other lengths, and equal to direct calls.
#include "check/ragged_call.hpp"
#include "reference/synthetic.hpp"
#include "tests/gpu/gpu_fixture.hpp"
#include "tests/gpu/stream_capture.hpp"

#include <cstring>
#include <random>

namespace sale::test {
namespace {

using check::DeviceResult;
using check::RaggedCall;
using check::RaggedRun;

struct Batch {
  const char *name;
  bool packed;
  int page_size;
};

class GraphTest : public GpuTest, public ::testing::WithParamInterface<Batch> {};

bool same_bits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

TEST_P(GraphTest, ReplaysOfFiftyLengthsEqualDirectCallsBitForBit) {
  constexpr int batch = 4;
  RaggedRun run;
  run.run.problem.num_q_heads = 4;
  run.run.problem.num_kv_heads = 2;
  run.serving.ragged = true;
  run.serving.page_size = GetParam().page_size;
  run.shape = {batch, 600, 1500};
  if (GetParam().packed) {
    run.shape.total_q = 2000;
    run.shape.total_kv = GetParam().page_size == 0 ? 5000 : 0;
  }
  const auto &device = Gpu::get().device;
  const Engine engine(0, test_options());
  const Plan plan = engine.prepare(run.run.problem, run.run.policy, run.serving);
  RaggedCall call(device, plan, parse_arch(engine.arch()), run);
  StreamCapture graph(device->driver());
  graph.capture([&](cu::Stream stream) { call.launch(stream); });

  std::mt19937 random(7);
  for (unsigned round = 0; round < 50; ++round) {
    std::vector<reference::Tensors> sequences;
    for (int b = 0; b < batch; ++b) {
      const int q_len = static_cast<int>(random() % 501U);
      const Shape shape{1, q_len, q_len + static_cast<int>(random() % 750U)};
      sequences.push_back(q_len == 0 ? reference::make_tensors(run.run.problem, shape)
                                     : reference::structured(run.run.problem, shape, round));
    }
    call.upload(sequences, {}, round);
    graph.replay();
    const auto replayed = call.download();
    call.upload(sequences, {}, round);
    call.launch(graph.stream());
    device->driver().check(device->driver().api.stream_synchronize(graph.stream()), "cuStreamSynchronize");
    const auto direct = call.download();
    for (std::size_t b = 0; b < batch; ++b) {
      ASSERT_TRUE(replayed[b].guards_intact);
      ASSERT_TRUE(replayed[b].mask == direct[b].mask) << "round " << round << " sequence " << b;
      ASSERT_TRUE(same_bits(replayed[b].out, direct[b].out) && same_bits(replayed[b].lse, direct[b].lse))
          << "round " << round << " sequence " << b;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Batches, GraphTest,
                         ::testing::Values(Batch{"packed", true, 0}, Batch{"padded", false, 0},
                                           Batch{"pages_of_64", true, 64}),
                         [](const auto &test) { return std::string(test.param.name); });

} // namespace
} // namespace sale::test
