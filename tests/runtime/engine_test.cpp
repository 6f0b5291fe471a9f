// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

namespace sale {
namespace {

class EngineTest : public FakeMachine {};

TEST_F(EngineTest, SaysThatTheNamedDriverIsNone) {
  Options with = options();
  with.cuda_driver = "/nonexistent/libcuda.so.1";
  const Error error = error_of([&] { const Engine engine(0, with); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_EQ(std::string(error.what()).rfind("the driver that was named cannot be opened: /nonexistent/libcuda.so.1", 0),
            0U);
}

TEST_F(EngineTest, SaysHowManyDevicesThereAre) {
  const Error error = error_of([&] { const Engine engine(3, options()); });
  EXPECT_STREQ(error.what(), "there is no GPU 3; this machine has 1 (numbered from 0)");
  EXPECT_THROW(Engine(-2, options()), Error);
}

TEST_F(EngineTest, NamesTheDeviceAndItsArchitecture) {
  const Engine engine(0, options());
  EXPECT_EQ(engine.device_name(), "Fake GPU");
  EXPECT_EQ(engine.arch(), "sm_90a");
}

TEST_F(EngineTest, HoldsThePrimaryContextWhileAPlanLives) {
  std::optional<Plan> plan;
  {
    const Engine engine(0, options());
    EXPECT_EQ(fake_cuda().primary_references, 1);
    plan = engine.prepare({}, {});
  }
  EXPECT_EQ(fake_cuda().primary_references, 1);
  EXPECT_EQ(fake_cuda().live_modules, 6);
  plan.reset();
  EXPECT_EQ(fake_cuda().primary_references, 0);
  EXPECT_EQ(fake_cuda().live_modules, 0);
  EXPECT_EQ(fake_cuda().live_bytes, 0U);
}

TEST_F(EngineTest, UsesTheCallersCurrentContext) {
  int mine = 0;
  make_current(reinterpret_cast<cu::Context>(&mine));
  fake_cuda().device_count = 2;
  fake_cuda().context_device = 1;
  const Engine any(-1, options());
  const Engine named(1, options());
  EXPECT_EQ(fake_cuda().primary_references, 0);
}

TEST_F(EngineTest, RefusesAnotherDeviceThanTheCurrentContexts) {
  int mine = 0;
  make_current(reinterpret_cast<cu::Context>(&mine));
  fake_cuda().device_count = 2;
  const Error error = error_of([&] { const Engine engine(1, options()); });
  EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("GPU 1 is asked for, but the context current on this thread is of another"),
            std::string::npos);
  EXPECT_EQ(fake_cuda().primary_references, 0);
}

TEST_F(EngineTest, UsesDeviceZeroByDefault) {
  const Engine engine(-1, options());
  EXPECT_EQ(fake_cuda().primary_references, 1);
}

TEST_F(EngineTest, DestroysAPlanQuietlyAfterItsContext) {
  const Engine engine(0, options());
  {
    const Plan plan = engine.prepare({}, {});
    fake_cuda().context_destroyed = true;
  }
  EXPECT_EQ(fake_cuda().live_modules, 6);
}

TEST_F(EngineTest, LoadsMachineCodeForTheDevicesOwnArchitecture) {
  const Engine engine(0, options());
  engine.prepare({}, {});
  ASSERT_EQ(fake_cuda().images.size(), 6U);
  EXPECT_NE(fake_cuda().images[0].find("--gpu-architecture=sm_90"), std::string::npos);
}

TEST_F(EngineTest, LoadsPtxForAnArchitectureOfAnotherMajorVersion) {
  Options with = options();
  with.arch = "sm_80";
  const Engine engine(0, with);
  EXPECT_EQ(engine.arch(), "sm_80");
  engine.prepare({}, {});
  EXPECT_NE(fake_cuda().images.at(0).find("--gpu-architecture=compute_80"), std::string::npos);
}

TEST_F(EngineTest, AsksForSharedMemoryAboveTheDefault) {
  const Engine engine(0, options());
  const Plan plan = engine.prepare({}, {});
  const auto &calls = fake_cuda().calls;
  const auto attribute =
      std::find_if(calls.begin(), calls.end(), [](const FakeCall &call) { return call.name == "cuFuncSetAttribute"; });
  ASSERT_NE(attribute, calls.end());
  EXPECT_GT(attribute->shared, 48U << 10);
}

TEST_F(EngineTest, ReportsTheDriversLogWhenItRefusesABinary) {
  const Engine engine(0, options());
  fake_cuda().fail_call = "cuModuleLoadDataEx";
  fake_cuda().fail_result = 2;
  const Error error = error_of([&] { engine.prepare({}, {}); });
  EXPECT_EQ(error.kind(), ErrorKind::load);
  EXPECT_EQ(error.details().log, "the driver's log");
  EXPECT_NE(error.details().spec.find("sm_90"), std::string::npos);
  EXPECT_NE(error.details().options.find("--gpu-architecture=sm_90"), std::string::npos);
  EXPECT_FALSE(error.details().advice.empty());
}

TEST_F(EngineTest, LeavesNothingBehindWhenPreparingFailsHalfway) {
  const Engine engine(0, options());
  for (const char *call :
       {"cuModuleLoadDataEx", "cuModuleGetFunction", "cuFuncSetAttribute", "cuMemAlloc_v2", "cuMemcpyHtoD_v2"}) {
    fake_cuda().fail_call = call;
    fake_cuda().fail_result = 2;
    fake_cuda().fail_after = 0;
    EXPECT_EQ(error_of([&] { engine.prepare({}, {}); }).kind(), ErrorKind::load) << call;
    EXPECT_EQ(fake_cuda().live_modules, 0) << call;
    EXPECT_EQ(fake_cuda().live_bytes, 0U) << call;
  }
}

TEST_F(EngineTest, RefusesABadProblemOrPolicyBeforeItCompilesAnything) {
  const Engine engine(0, options());
  const int compiles = fake_compiles();
  Problem problem;
  problem.head_dim = 80;
  EXPECT_THROW(engine.prepare(problem, {}), Error);
  Policy policy;
  policy.tau = -1;
  EXPECT_THROW(engine.prepare({}, policy), Error);
  EXPECT_EQ(fake_compiles(), compiles);
}

} // namespace
} // namespace sale
