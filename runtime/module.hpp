// SPDX-License-Identifier: Apache-2.0
// A kernel loaded into a device's context, ready to launch.
#pragma once

#include "cache/entry.hpp"
#include "runtime/device.hpp"

#include <memory>
#include <string>

namespace sale {

class Module {
public:
  /// Loads the binary (the driver compiles PTX here) and allows its dynamic shared memory. Throws Error(load), which
  /// carries `options`: what the binary was compiled with.
  Module(std::shared_ptr<const Device> device, const Entry &entry, const std::string &options);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  cu::Function function() const { return function_; }

private:
  std::shared_ptr<const Device> device_;
  cu::Module module_ = nullptr;
  cu::Function function_ = nullptr;
};

} // namespace sale
