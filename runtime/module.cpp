// SPDX-License-Identifier: Apache-2.0
#include "runtime/module.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <utility>

namespace sale {

namespace {

// Above this a kernel needs the driver's consent (CUDA C++ Programming Guide, "Shared Memory").
constexpr int default_shared_memory = 48 << 10;

} // namespace

Module::Module(std::shared_ptr<const Device> device, const Entry &entry, const std::string &options)
    : device_(std::move(device)) {
  const Driver &driver = device_->driver();
  const CurrentContext scope(*device_);
  // PTX is text to the driver, and a cache file may lack the terminating zero.
  std::vector<unsigned char> image = entry.binary;
  image.push_back(0);

  std::array<char, 8192> log{};
  std::array log_options = {cu::jit_error_log_buffer, cu::jit_error_log_buffer_bytes};
  std::array<void *, 2> values = {log.data(), reinterpret_cast<void *>(std::uintptr_t{log.size() - 1})};
  const cu::Result loaded = driver.api.module_load(&module_, image.data(), static_cast<unsigned>(log_options.size()),
                                                   log_options.data(), values.data());
  driver.check(loaded, "cuModuleLoadDataEx", ErrorKind::load,
               {.log = log.data(), .options = options, .spec = entry.spec});
  try {
    // Also makes a lazily loading driver load the kernel now rather than at its first launch.
    driver.check(driver.api.module_function(&function_, module_, entry.entry_name.c_str()), "cuModuleGetFunction",
                 ErrorKind::load, {.options = options, .spec = entry.spec});
    if (entry.dynamic_shared_memory + entry.static_shared_memory > default_shared_memory) {
      driver.check(driver.api.function_set(function_, cu::max_dynamic_shared_memory, entry.dynamic_shared_memory),
                   "cuFuncSetAttribute", ErrorKind::load, {.options = options, .spec = entry.spec});
    }
  } catch (const Error &) {
    driver.api.module_unload(module_);
    throw;
  }
}

Module::~Module() {
  release_in_context(*device_, [this](const cu::Api &api) { api.module_unload(module_); });
}

} // namespace sale
