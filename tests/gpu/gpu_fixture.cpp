// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/gpu_fixture.hpp"

#include <cstdlib>
#include <filesystem>

namespace sale::test {

const Gpu &Gpu::get() {
  static const Gpu gpu = [] {
    Gpu found;
    try {
      found.device = std::make_shared<const Device>(Driver::open(), 0);
      const Driver &driver = found.device->driver();
      driver.check(driver.api.context_push(found.device->context()), "cuCtxPushCurrent");
    } catch (const Error &error) {
      found.device = nullptr;
      found.why_not = error.what();
    }
    return found;
  }();
  return gpu;
}

Options test_options(const std::string &arch) {
  Options options;
  options.arch = arch;
  if (std::getenv("SALE_CACHE_DIR") == nullptr) {
    options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
  }
  return options;
}

check::DeviceResult run_on_gpu(const check::DeviceRun &run, const reference::Tensors &tensors,
                               const std::string &arch) {
  return check::run_on_device(run, tensors, Gpu::get().device, test_options(arch));
}

} // namespace sale::test
