// SPDX-License-Identifier: Apache-2.0
#include "runtime/driver.hpp"
#include "runtime/shared_library.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

class DriverTest : public FakeMachine {};

TEST_F(DriverTest, SaysWhenThereIsNone) {
  if (SharedLibrary::open("libcuda.so.1")) {
    GTEST_SKIP() << "there is one";
  }
  const Error error = error_of([] { Driver::open(); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_STREQ(error.what(), "no NVIDIA driver found (libcuda.so.1); kernels run on machines with an NVIDIA "
                             "GPU and its driver; generating, compiling and prewarming need neither");
  EXPECT_FALSE(error.details().log.empty());
}

TEST_F(DriverTest, SaysWhyANamedOneCannotBeOpened) {
  const Error error = error_of([] { Driver::open("/nonexistent/libcuda.so.1"); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_STREQ(error.what(),
               "the driver that was named cannot be opened: /nonexistent/libcuda.so.1: cannot open shared "
               "object file: No such file or directory; give the path of a libcuda.so.1, or no name for "
               "the one that the loader finds");
  EXPECT_FALSE(error.details().log.empty());
}

TEST_F(DriverTest, SaysWhichFunctionALibraryLacks) {
  const Error error = error_of([] { Driver::open(FAKE_NVRTC); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_NE(std::string(error.what()).find("has no cuInit"), std::string::npos);
}

TEST_F(DriverTest, SaysWhenTheDriverFindsNoDevice) {
  fake_cuda().fail_call = "cuInit";
  fake_cuda().fail_result = 100;
  const Error error = error_of([] { Driver::open(FAKE_CUDA); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_NE(std::string(error.what()).find("CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)"),
            std::string::npos);
}

TEST_F(DriverTest, ReportsItsFileAndVersion) {
  const auto driver = Driver::open(FAKE_CUDA);
  EXPECT_EQ(driver->file(), FAKE_CUDA);
  EXPECT_EQ(driver->version(), "13.0");
}

TEST_F(DriverTest, TurnsARefusalIntoAnErrorWithTheCallAndItsMeaning) {
  const auto driver = Driver::open(FAKE_CUDA);
  const Error error = error_of([&] { driver->check(2, "cuMemAlloc"); });
  EXPECT_EQ(error.kind(), ErrorKind::launch);
  EXPECT_EQ(error.details().where, "cuMemAlloc");
  EXPECT_STREQ(error.what(), "cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY (out of memory); free device memory, or "
                             "use a smaller batch or a shorter context");
}

TEST_F(DriverTest, AdvisesOnEveryRefusal) {
  const auto driver = Driver::open(FAKE_CUDA);
  for (const cu::Result result : {1, 2, 46, 100, 200, 201, 209, 218, 222, 400, 700, 701, 719, 999, 123456}) {
    const Error error = error_of([&] { driver->check(result, "cuLaunchKernel"); });
    EXPECT_FALSE(error.details().advice.empty()) << result;
  }
  EXPECT_NE(error_of([&] { driver->check(222, "cuModuleLoadDataEx"); }).details().advice.find("update the driver"),
            std::string::npos);
}

TEST_F(DriverTest, KeepsTheAdviceOfTheCaller) {
  const auto driver = Driver::open(FAKE_CUDA);
  const Error error = error_of([&] { driver->check(2, "cuMemAlloc", ErrorKind::load, {.advice = "mine"}); });
  EXPECT_EQ(error.details().advice, "mine");
}

} // namespace
} // namespace sale
