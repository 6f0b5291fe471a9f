// SPDX-License-Identifier: Apache-2.0
// A test with a GPU; skips where there is none.
#pragma once

#include "check/device_run.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace sale::test {

/// GPU 0 with its primary context, current on the thread that asks first; or null and a reason.
struct Gpu {
  std::shared_ptr<const Device> device;
  std::string why_not;

  static const Gpu &get();
};

class GpuTest : public ::testing::Test {
protected:
  void SetUp() override {
    if (Gpu::get().device == nullptr) {
      GTEST_SKIP() << "no GPU: " << Gpu::get().why_not;
    }
  }
};

/// Engine options of all GPU tests: kernels are cached in the build folder, or wherever SALE_CACHE_DIR says. `arch`:
/// empty = the device's own.
Options test_options(const std::string &arch = {});

check::DeviceResult run_on_gpu(const check::DeviceRun &run, const reference::Tensors &tensors,
                               const std::string &arch = {});

} // namespace sale::test
