// SPDX-License-Identifier: Apache-2.0
#include "runtime/device.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>

namespace sale {
namespace {

class DeviceTest : public FakeMachine {
protected:
  static std::shared_ptr<const Device> device() { return std::make_shared<const Device>(Driver::open(FAKE_CUDA), -1); }
};

TEST_F(DeviceTest, GivesBackWhatWasUploaded) {
  {
    const std::array values = {1.0F, 2.0F, 3.0F};
    DeviceArray array(device(), sizeof values);
    array.upload(values.data());
    std::array<float, 3> read{};
    array.download(read.data());
    EXPECT_EQ(read, values);
    EXPECT_EQ(array.bytes(), sizeof values);
  }
  EXPECT_EQ(fake_cuda().live_bytes, 0U);
  EXPECT_EQ(fake_cuda().primary_references, 0);
}

TEST_F(DeviceTest, AllocatesNothingForAnEmptyArray) {
  DeviceArray array(device(), 0);
  array.upload(nullptr);
  array.download(nullptr);
  EXPECT_EQ(array.data(), nullptr);
  EXPECT_EQ(fake_cuda().live_bytes, 0U);
}

TEST_F(DeviceTest, LetsGoOfTheContextThatItCannotMakeCurrent) {
  fake_cuda().fail_call = "cuCtxPushCurrent_v2";
  fake_cuda().fail_result = 201;
  EXPECT_THROW(
      {
        const auto gpu = device();
        const CurrentContext current(*gpu);
      },
      Error);
  EXPECT_EQ(fake_cuda().primary_references, 0);
}

} // namespace
} // namespace sale
