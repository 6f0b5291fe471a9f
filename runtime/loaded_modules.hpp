// SPDX-License-Identifier: Apache-2.0
// The kernels that Plans of one Engine have loaded: two Plans with the same kernel share it.
#pragma once

#include "runtime/kernel_factory.hpp"
#include "runtime/launch.hpp"
#include "runtime/module.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace sale {

class LoadedModules {
public:
  /// The kernel, loaded unless it is so already. Throws Error(load).
  Kernel load(const std::shared_ptr<const Device> &device, const BuiltKernel &built) const;

private:
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::weak_ptr<const Module>> modules_; ///< By cache key.
};

} // namespace sale
