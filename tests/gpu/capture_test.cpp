// SPDX-License-Identifier: Apache-2.0
// What would compile, load or wait during a capture says so, and the capture stays valid.
#include "check/ragged_call.hpp"
#include "reference/synthetic.hpp"
#include "tests/gpu/gpu_fixture.hpp"
#include "tests/gpu/stream_capture.hpp"

namespace sale::test {
namespace {

struct Kind {
  const char *name;
  unsigned stream_flags;
  int mode;
  bool seen; ///< prepare can tell that this stream is captured
};

class CaptureTest : public GpuTest, public ::testing::WithParamInterface<Kind> {};

template <class Action>
bool refused_for_the_capture(const Action &action) {
  try {
    action();
  } catch (const Error &error) {
    return error.kind() == ErrorKind::capturing;
  }
  return false;
}

TEST_P(CaptureTest, OutlivesPrepareAndProfile) {
  check::RaggedRun run;
  run.run.problem.num_q_heads = 4;
  run.run.problem.num_kv_heads = 2;
  run.serving.ragged = true;
  run.shape = {1, 300, 700};
  const auto &device = Gpu::get().device;
  const Engine engine(0, test_options());
  const Plan plan = engine.prepare(run.run.problem, run.run.policy, run.serving);
  check::RaggedCall call(device, plan, parse_arch(engine.arch()), run);
  const std::vector<reference::Tensors> sequences = {reference::structured(run.run.problem, {1, 300, 700}, 3)};
  call.upload(sequences, {}, 1);

  // Another Engine has its kernels still to load, and its policy to copy.
  const Engine other(0, test_options());
  StreamCapture graph(device->driver(), GetParam().stream_flags);
  graph.capture(
      [&](cu::Stream stream) {
        call.launch(stream);
        EXPECT_EQ(refused_for_the_capture([&] { other.prepare(run.run.problem, run.run.policy, run.serving); }),
                  GetParam().seen);
        EXPECT_TRUE(refused_for_the_capture([&] { plan.profile(call.arguments(), stream); }));
      },
      GetParam().mode);
  graph.replay();
  const auto replayed = call.download();
  call.upload(sequences, {}, 1);
  call.launch(graph.stream());
  device->driver().check(device->driver().api.stream_synchronize(graph.stream()), "cuStreamSynchronize");
  const auto direct = call.download();
  EXPECT_TRUE(replayed[0].guards_intact);
  EXPECT_TRUE(replayed[0].mask == direct[0].mask);
  EXPECT_EQ(replayed[0].out, direct[0].out);
}

INSTANTIATE_TEST_SUITE_P(Streams, CaptureTest,
                         ::testing::Values(Kind{"blocking_global", 0, StreamCapture::global, true},
                                           Kind{"blocking_this_thread", 0, StreamCapture::only_this_thread, true},
                                           Kind{"non_blocking_global", 1, StreamCapture::global, false},
                                           Kind{"non_blocking_this_thread", 1, StreamCapture::only_this_thread, false}),
                         [](const auto &test) { return std::string(test.param.name); });

} // namespace
} // namespace sale::test
